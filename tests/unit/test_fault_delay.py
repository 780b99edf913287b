# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages by which packets are held back, as linux/netfilter/nfnetlink_queue.h lays them out."""

from __future__ import annotations

import struct

import pytest
from fault.workload.delay import packets, verdict


def told(number: int) -> bytes:
    """What the kernel sends for one packet: the header, then another attribute."""
    attributes = struct.pack("=HH", 11, 1) + struct.pack("!IHB", number, 0x0800, 3) + b"\0"
    attributes += struct.pack("=HH", 8, 3) + struct.pack("!I", 1)
    body = struct.pack("!BBH", 2, 0, 7) + attributes
    return struct.pack("=IHHII", 16 + len(body), 3 << 8, 0, 0, 0) + body


def test_the_numbers_of_all_packets_of_a_datagram_are_found() -> None:
    assert list(packets(told(5) + told(6))) == [5, 6]


def test_a_refusal_of_the_kernel_is_an_error() -> None:
    with pytest.raises(OSError, match="refused"):
        list(packets(struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -1) + bytes(16)))


def test_a_verdict_names_queue_and_packet() -> None:
    sent = verdict(7, 5)
    assert struct.unpack_from("=IH", sent) == (len(sent), 3 << 8 | 1)
    assert sent[18:20] == b"\0\x07"
    assert sent[20:] == struct.pack("=HH", 12, 2) + struct.pack("!II", 1, 5)
