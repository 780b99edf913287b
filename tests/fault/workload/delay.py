# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds back the packets of a netfilter queue: latency where the kernel has no sch_netem.

usage: delay.py QUEUE MILLISECONDS SECONDS

Runs in the network namespace whose rules send packets to `-j NFQUEUE --queue-num QUEUE --queue-bypass`; each is let go
so many milliseconds later, in order. Ends after so many seconds; then, or if it dies, packets pass at once (bypass).
Messages: linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator

NETLINK_NETFILTER = 12
QUEUE_SUBSYSTEM = 3
PACKET, VERDICT, CONFIG = 0, 1, 2
REQUEST = 1
CMD, PARAMS, MAXLEN = 1, 2, 3
BIND, COPY_META = 1, 1
PACKET_HEADER, VERDICT_HEADER = 1, 2
ACCEPT = 1
MOST_PACKETS = 100_000
ERROR = 2


def message(kind: int, queue: int, attribute: int, payload: bytes) -> bytes:
    """One netlink message to a queue with one attribute."""
    padded = payload + bytes(-len(payload) % 4)
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, socket.htons(queue)) + struct.pack(
        "=HH", 4 + len(payload), attribute
    )
    head = struct.pack("=IHHII", 16 + len(body) + len(padded), QUEUE_SUBSYSTEM << 8 | kind, REQUEST, 0, 0)
    return head + body + padded


def verdict(queue: int, packet: int) -> bytes:
    """Let a packet go."""
    return message(VERDICT, queue, VERDICT_HEADER, struct.pack("!II", ACCEPT, packet))


def packets(data: bytes) -> Iterator[int]:
    """Numbers of the packets that a datagram of the kernel tells of."""
    place = 0
    while place + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, place)
        if kind == QUEUE_SUBSYSTEM << 8 | PACKET:
            spot = place + 20
            while spot + 4 <= place + length:
                size, attribute = struct.unpack_from("=HH", data, spot)
                if attribute == PACKET_HEADER:
                    yield struct.unpack_from("!I", data, spot + 4)[0]
                spot += (size + 3) & ~3 or 4
        elif kind == ERROR and struct.unpack_from("=i", data, place + 16)[0]:
            raise OSError(
                -struct.unpack_from("=i", data, place + 16)[0], "the kernel refused a message about the queue"
            )
        place += (length + 3) & ~3 or 16


def main() -> None:
    """Hold back until the time is over."""
    queue, delay, end = int(sys.argv[1]), float(sys.argv[2]) / 1000, time.monotonic() + float(sys.argv[3])
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    link.bind((0, 0))
    link.send(message(CONFIG, queue, CMD, struct.pack("!BBH", BIND, 0, socket.AF_UNSPEC)))
    link.send(message(CONFIG, queue, PARAMS, struct.pack("!IB", 0, COPY_META)))
    link.send(message(CONFIG, queue, MAXLEN, struct.pack("!I", MOST_PACKETS)))
    held: deque[tuple[float, int]] = deque()
    while (now := time.monotonic()) < end:
        while held and held[0][0] <= now:
            link.send(verdict(queue, held.popleft()[1]))
        patience = min(end, held[0][0] if held else end) - time.monotonic()
        if select.select([link], [], [], max(patience, 0))[0]:
            try:
                data = link.recv(1 << 16)
            except OSError:  # too many at once: what the kernel could not tell of is lost, as on a bad line
                continue
            held.extend((time.monotonic() + delay, packet) for packet in packets(data))


if __name__ == "__main__":
    main()
