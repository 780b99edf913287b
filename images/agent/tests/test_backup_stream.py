# SPDX-License-Identifier: GPL-3.0-or-later
"""Pipes of real processes: each member that fails, is slow, is cut short or is killed."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from galera_agent.backup import stream
from galera_agent.backup.pipe import Limit, Pace, Stage, StreamError
from galera_agent.backup.store import StoreError
from galera_agent.backup.stream import CorruptError, checked, receive, send

DATA = bytes(range(256)) * 20_000


class Sink:
    """Keeps what it gets; fails when it has more than so many bytes."""

    def __init__(self, most: int = 1 << 40) -> None:
        self.data, self._most = b"", most

    def write(self, data: bytes) -> int:
        if len(self.data) + len(data) > self._most:
            raise StoreError("the target is full")
        self.data += data
        return len(data)


def python(code: str, needs: str = "") -> Stage:
    return Stage((sys.executable, "-c", f"import os, sys, time\n{code}"), needs)


def source(file: Path, end: str = "print('completed OK!', file=sys.stderr)", needs: str = "completed OK!") -> Stage:
    return python(f"sys.stdout.buffer.write(open({str(file)!r}, 'rb').read()); sys.stdout.flush()\n{end}", needs)


COPY = "import shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def test_what_goes_in_comes_out_counted_and_hashed(file: Path, tmp_path: Path) -> None:
    sink = Sink()
    sent = send([source(file), python(COPY), python(f"{COPY}; sys.stdout.write('.')")], sink, tmp_path, Limit())
    assert sink.data == DATA + b"."
    assert (sent.data_bytes, sent.size) == (len(DATA), len(DATA) + 1)
    assert sent.sha256 == hashlib.sha256(sink.data).hexdigest()
    assert sent.messages[0].strip() == "completed OK!"


def test_a_file_is_a_source_as_well(file: Path, tmp_path: Path) -> None:
    sink = Sink()
    with file.open("rb") as reader:
        assert send([python(COPY)], sink, tmp_path, Limit(), source=reader).size == len(DATA)
    assert sink.data == DATA


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        ([python("sys.stderr.write('no server'); sys.exit(3)"), python(COPY)], r"python\S* ended with 3: no server"),
        ([python("print('x' * 9999); sys.exit(1)", "completed OK!"), python(COPY)], "ended with 1"),
        ([python("print('x' * 9999)", "completed OK!"), python(COPY)], "did not end with 'completed OK!'"),
        (
            [python("os.write(1, b'x' * 10**6)"), python("sys.stderr.write('no key'); sys.exit(4)")],
            "ended with 4: no key",
        ),
        ([python("print('x')"), python(COPY), python("sys.exit('full')")], "ended with 1: full"),
        ([python("os.write(1, b'x' * 10**6)"), python(f"{COPY}; sys.stdout.flush(); os.kill(os.getpid(), 9)")], "-9"),
        ([Stage(("no-such-program",)), python(COPY)], "no-such-program cannot be started: No such file"),
        ([python("time.sleep(60)"), Stage(("no-such-program",))], "no-such-program cannot be started"),
    ],
)
def test_each_member_that_fails(stages: list[Stage], text: str, tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=text):
        send(stages, Sink(), tmp_path, Limit(30))


def test_who_dies_of_a_broken_pipe_is_not_the_cause(tmp_path: Path) -> None:
    writer = python("import signal; signal.signal(13, signal.SIG_DFL)\nwhile True: os.write(1, b'x' * 65536)")
    with pytest.raises(StreamError) as caught:
        send([writer, python("sys.exit('the cause')")], Sink(), tmp_path, Limit(30))
    assert str(caught.value).count("ended with") == 1
    assert "the cause" in str(caught.value)


def children() -> set[int]:
    return {int(one) for one in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()}


def test_a_full_target_ends_all(file: Path, tmp_path: Path) -> None:
    before = children()
    endless = python("while True: os.write(1, b'x' * 65536)")
    with pytest.raises(StoreError, match="the target is full"):
        send([endless, python(COPY)], Sink(1 << 20), tmp_path, Limit(30))
    assert children() == before


def test_a_deadline_and_a_cancelled_stream(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(StreamError, match=r"did not end within its deadline of 0\.3 s"):
        send([python("time.sleep(600)"), python(COPY)], Sink(), tmp_path, Limit(0.3))
    limit = Limit()
    threading.Timer(0.3, limit.cancel, ("the Lease was lost",)).start()
    with pytest.raises(StreamError, match="was cancelled: the Lease was lost"):
        send([python("time.sleep(600)"), python(COPY)], Sink(), tmp_path, limit)
    assert children() == before


def test_an_exit_leaves_no_process(tmp_path: Path) -> None:
    """As when the signal handler of a command raises SystemExit amid a write."""
    before = children()

    class Exits(Sink):
        def write(self, data: bytes) -> int:
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        send([python("while True: os.write(1, b'x' * 65536)"), python(COPY)], Exits(), tmp_path, Limit())
    assert children() == before


def test_pace() -> None:
    now = [100.0]
    pace = Pace(1000, lambda: now[0])
    assert pace.ahead(5000) == 5
    now[0] = 104
    assert pace.ahead(5000) == 1
    assert pace.ahead(3000) == 0
    assert Pace(None).ahead(10**12) == 0


def test_a_pace_does_not_catch_up_what_a_pause_has_cost() -> None:
    """As while a target stood still: the server would be read as fast as it goes afterwards."""
    now = [100.0]
    pace = Pace(1000, lambda: now[0])
    assert pace.ahead(2000) == 2
    now[0] = 400
    assert pace.ahead(2000) == 0
    assert pace.ahead(4000) == 1
    now[0] = 401.5
    assert pace.ahead(4000) == 0
    assert pace.ahead(5000) == 0.5


def test_a_slow_pace_is_cut_by_the_deadline(file: Path, tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="deadline"):
        send([source(file), python(COPY)], Sink(), tmp_path, Limit(0.5), rate=1 << 20)


def test_a_stream_that_is_cut_on_its_way_is_not_whole(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs before and after it may both have ended well."""
    before = threading.Event()

    def splice(*_: object) -> int:
        before.wait(1)
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(os, "splice", splice)
    with pytest.raises(StreamError, match=r"^the stream was cut after 0 bytes: Cannot allocate memory$"):
        send([python("pass"), python(COPY)], Sink(), tmp_path, Limit(20))


def chunks(data: bytes, size: int = 65536) -> Iterator[bytes]:
    reader = io.BytesIO(data)
    while chunk := reader.read(size):
        yield chunk


def test_receiving(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as out:
        receive(chunks(DATA), [python(COPY), python(COPY)], tmp_path, Limit(), output=out)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        ([python("sys.exit('wrong key')"), python(COPY)], "wrong key"),
        ([python(COPY), python("sys.exit('no space')")], "no space"),
        ([python(COPY), python("sys.stdin.buffer.read(); sys.exit('at its end')")], "at its end"),
    ],
)
def test_receiving_with_each_member_failing(stages: list[Stage], text: str, tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=text):
        receive(chunks(DATA), stages, tmp_path, Limit(30))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_whole_object() -> None:
    for size in (1, stream.CHUNK - 1, stream.CHUNK, stream.CHUNK + 1, 3 * stream.CHUNK):
        data = random.Random(size).randbytes(size)
        assert b"".join(checked(io.BytesIO(data), "key", size, digest(data))) == data


def test_generated_corruptions_are_found_before_the_last_chunk_is_given() -> None:
    """Bit flips, cuts, additions, swapped and repeated stretches: none passes, and what passed is never whole."""
    chance = random.Random(5)
    data = chance.randbytes(stream.CHUNK + 5000)
    sha256 = digest(data)

    def flip(at: int) -> bytes:
        return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]

    def swap(at: int) -> bytes:
        return data[:at] + data[at + 100 : at + 200] + data[at : at + 100] + data[at + 200 :]

    changes = (
        flip,
        lambda at: data[:at],
        lambda at: data[:at] + b"\0" + data[at:],
        lambda at: data[:at] + data[at + 1 :],
        swap,
        lambda at: data[:at] + data[at : at + 64] + data[at:],
    )
    for number in range(120):
        broken = changes[number % len(changes)](chance.randrange(len(data) - 300))
        passed: list[bytes] = []
        with pytest.raises(CorruptError, match="key "):
            passed.extend(checked(io.BytesIO(broken), "key", len(data), sha256))
        assert len(b"".join(passed)) < len(data)


def test_a_corrupt_object_ends_the_programs_behind_it(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(CorruptError):
        receive(checked(io.BytesIO(DATA), "key", len(DATA), digest(b"")), [python(COPY)], tmp_path, Limit())
    assert children() == before


@pytest.mark.parametrize("stages", [["sys.exit('damaged block')"], [COPY, "sys.stdin.buffer.read(9); sys.exit('crc')"]])
def test_wrong_bytes_are_the_cause_also_where_a_program_meets_them_first(stages: list[str], tmp_path: Path) -> None:
    """As age and zstd do long before the end; without them another copy would not be tried."""
    found = [python(one) for one in stages]
    with pytest.raises(CorruptError, match="key has the SHA-256"):
        receive(checked(io.BytesIO(DATA), "key", len(DATA), digest(b"")), found, tmp_path, Limit())
    with pytest.raises(StreamError, match=r"damaged block|crc") as caught:
        receive(checked(io.BytesIO(DATA), "key", len(DATA), digest(DATA)), found, tmp_path, Limit())
    assert not isinstance(caught.value, CorruptError)


@pytest.mark.parametrize(
    "stage", [python("sys.exit('write: No space left on device')"), Stage(("/nowhere/age",)), python("time.sleep(60)")]
)
def test_the_rest_is_not_read_where_the_bytes_are_not_the_cause(stage: Stage, tmp_path: Path) -> None:
    data, size = io.BytesIO(DATA), len(DATA)
    with pytest.raises(StreamError, match=r"No space|cannot be started|deadline") as caught:
        receive(checked(data, "key", size, digest(b"")), [stage], tmp_path, Limit(1))
    assert not isinstance(caught.value, CorruptError)
    assert data.tell() < size
