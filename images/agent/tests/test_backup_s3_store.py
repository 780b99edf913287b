# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 that is cut, silent, slow, denied, of another authority, locked: on a real server. And the arithmetic of parts."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import s3_server
from galera_agent.backup import s3_writer
from galera_agent.backup.s3_store import Patience, S3Store, open_s3
from galera_agent.backup.s3_writer import MAX_PARTS, MIB, part_size
from galera_agent.backup.settings import ObjectLock, S3Settings
from galera_agent.backup.store import LockedError, MissingError, StoreError
from s3_server import IMPATIENT, Link, Server, settings

AGENT = str(Path(__file__).parents[1])
NOISE = random.Random(2).randbytes(50 * MIB)
KEY = "backups/x/stream"


@pytest.fixture
def store(server: Server, request: pytest.FixtureRequest) -> S3Store:
    """A store in a bucket of its own, reached directly."""
    return s3_server.bucket(server, name_of(request))


@pytest.fixture
def link(server: Server) -> Iterator[Link]:
    found = Link(server.port)
    yield found
    found.close()


def name_of(request: pytest.FixtureRequest) -> str:
    letters = "".join(one if one.isalnum() else "-" for one in request.node.name.lower())
    return f"b-{letters}"[:60].rstrip("-")


def through(server: Server, store: S3Store, link: Link, patience: Patience = IMPATIENT) -> S3Store:
    """The same place, reached through a link."""
    return open_s3(settings(server, store._bucket, endpoint=link.endpoint), server.secrets, patience)


def write(store: S3Store, data: bytes, key: str = KEY) -> None:
    with store.writer(key) as writer:
        for start in range(0, len(data), MIB):
            writer.write(data[start : start + MIB])
        writer.commit()


def nothing_left(store: S3Store) -> bool:
    return not list(store.list("")) and not store.clean(timedelta(0), datetime.now(UTC) + timedelta(days=1))


# --- parts ------------------------------------------------------------------------------------------------------------
def test_ten_thousand_parts_hold_five_tebibytes() -> None:
    sizes = [part_size(number) for number in range(1, MAX_PARTS + 1)]
    assert sum(sizes) >= 5 << 40
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1] < 5 << 30, {size % MIB for size in sizes}) == (16 * MIB, True, {0})


@pytest.mark.parametrize(("gibibytes", "largest"), [(1, 16), (140, 16), (500, 57), (3000, 342)])
def test_parts_are_no_larger_than_what_is_expected_takes(gibibytes: int, largest: int) -> None:
    """A backup of 500 GiB would else hold three parts of 260 MiB, more than the agent may use."""
    sizes = [part_size(number, gibibytes << 30) for number in range(1, MAX_PARTS + 1)]
    needed = next(number for number, done in enumerate(accumulate(sizes)) if done >= gibibytes << 30)
    assert max(sizes[: needed + 1]) == largest * MIB
    # much more than was expected gets a place, too
    assert (sum(sizes) > 2 * (gibibytes << 30), sizes == sorted(sizes), max(sizes) <= 5 << 30) == (True,) * 3


def test_a_writer_takes_the_parts_that_are_expected(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def sized(number: int, expected: int) -> int:
        asked.append((number, expected))
        return 5 * MIB

    monkeypatch.setattr(s3_writer, "part_size", sized)
    with store.writer(KEY, 7 << 40) as writer:
        writer.write(b"x" * (10 * MIB + 1))
        writer.commit()
    assert set(asked) == {(number, 7 << 40) for number in (1, 2, 3)}
    assert [one.size for one in store.list("")] == [10 * MIB + 1]


def test_memory_is_three_parts(store: S3Store) -> None:
    """However slow the server is: a writer that is faster than it waits."""
    blocked, begun = threading.Event(), []
    plain = store._client.upload_part

    def slow(**arguments: Any) -> Any:
        begun.append(arguments["PartNumber"])
        blocked.wait(20)
        return plain(**arguments)

    store._client.upload_part = slow  # type: ignore[method-assign]
    taken = []

    def fill() -> None:
        with store.writer(KEY) as writer:
            for start in range(0, len(NOISE), MIB):
                writer.write(NOISE[start : start + MIB])
                taken.append(start)
            writer.commit()

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join(3)
    # the third part is full, the first two are on their way
    assert (len(taken), sorted(begun)) == (47, [1, 2])
    blocked.set()
    thread.join()
    assert store.get(KEY) == NOISE


# --- interruptions ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sent", [0, 1000, 10 * MIB, 17 * MIB, 33 * MIB, 40 * MIB])
def test_upload_cut_anywhere(server: Server, store: S3Store, link: Link, sent: int) -> None:
    """Nothing that looks whole, one sentence; what the server kept of it is cleaned up later."""
    link.up_to = sent
    with pytest.raises(StoreError, match=rf"^s3://{store._bucket}/a/n does not take {KEY}: .*\.?$") as error:
        write(through(server, store, link), NOISE)
    assert "\n" not in str(error.value)
    assert list(store.list("")) == []
    store.clean(timedelta(0), datetime.now(UTC) + timedelta(days=1))
    assert nothing_left(store)


def test_connection_that_breaks_once_is_tried_again(server: Server, store: S3Store, link: Link) -> None:
    link.up_to = 10 * MIB
    with mended(link):
        write(through(server, store, link, Patience(5, 5, 6)), NOISE)
    assert store.get(KEY) == NOISE


@contextmanager
def mended(link: Link) -> Iterator[None]:
    """Let everything through again once the link has been cut, which it must be within the block."""

    def mend() -> None:
        while link.up_to or link.down_to:
            threading.Event().wait(0.01)
        link.up_to = link.down_to = None

    thread = threading.Thread(target=mend, daemon=True)
    thread.start()
    yield
    thread.join()
    assert link.connections > 1


def test_reader_goes_on_where_it_broke(server: Server, store: S3Store, link: Link) -> None:
    write(store, NOISE)
    link.down_to = 20 * MIB
    with mended(link):
        assert through(server, store, link, Patience(5, 5, 6)).get(KEY) == NOISE


def test_reader_never_ends_early(server: Server, store: S3Store, link: Link) -> None:
    write(store, NOISE)
    link.down_to = 20 * MIB
    with pytest.raises(StoreError, match="does not give backups/x/stream: "):
        through(server, store, link).get(KEY)


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_wrong_bit_breaks_the_connection(server: Server, store: S3Store, link: Link, attempts: int) -> None:
    """TLS ends it then."""
    write(store, NOISE)
    link.down_to, link.flip = 20 * MIB, True
    reached = through(server, store, link, Patience(5, 5, attempts))
    if attempts > 1:
        assert reached.get(KEY) == NOISE
    else:
        with pytest.raises(StoreError, match=r"does not give backups/x/stream: the connection to \S+ broke"):
            reached.get(KEY)
    assert link.down_to is None


def test_an_object_without_an_etag_is_read_also_where_the_connection_broke(
    server: Server, store: S3Store, link: Link
) -> None:
    """As of a file that was copied into the directory of the server."""
    path = server.root / store._bucket / "a/n" / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(NOISE)
    assert "ETag" not in store._client.get_object(Bucket=store._bucket, Key=f"a/n/{KEY}")
    link.down_to = 20 * MIB
    with mended(link):
        assert through(server, store, link, Patience(5, 5, 6)).get(KEY) == NOISE


def test_reader_notices_that_the_object_was_replaced(server: Server, store: S3Store, link: Link) -> None:
    write(store, NOISE)
    with through(server, store, link).reader(KEY) as stream:
        assert stream.read(MIB) == NOISE[:MIB]
        write(store, NOISE[::-1])
        for one in link._open:
            s3_server._shut(one)
        with pytest.raises(StoreError, match="does not give backups/x/stream: PreconditionFailed"):
            stream.read()


def test_killed_writer_leaves_an_upload_that_is_cleaned(server: Server, store: S3Store) -> None:
    script = f"""
import sys; sys.path[:0] = [{AGENT!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
from galera_agent.backup.s3_store import open_s3
from galera_agent.backup.settings import S3Settings
ca, secrets = Path({str(server.ca)!r}), Path({str(server.secrets)!r})
store = open_s3(S3Settings({store._bucket!r}, "a/n", {server.endpoint!r}, None, ca, True, None, None, None), secrets)
writer = store.writer({KEY!r})
writer.write(bytes(40 << 20))
writer._wait(0)
print("uploaded", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "uploaded\n"
    child.kill()
    child.wait()
    assert list(store.list("")) == []
    assert store.clean(timedelta(hours=1), datetime.now(UTC)) == []
    assert store.clean(timedelta(hours=1), datetime.now(UTC) + timedelta(hours=2)) == [KEY]
    assert nothing_left(store)


def test_an_upload_that_is_gone_is_no_hindrance(store: S3Store) -> None:
    """Somebody else may have ended it, and some servers list it for a while after that."""
    with store.writer(KEY) as writer:
        writer.write(NOISE)
        plain = store._client.abort_multipart_upload

        def twice(**arguments: Any) -> Any:
            plain(**arguments)
            return plain(**arguments)

        store._client.abort_multipart_upload = twice  # type: ignore[method-assign]
        assert store.clean(timedelta(0), datetime.now(UTC) + timedelta(days=1)) == [KEY]


def test_a_server_that_writes_headers_in_capitals(store: S3Store) -> None:
    """X-Amz-Meta-Upload, as servers in Go may."""
    plain = store._client.head_object

    def capitals(**arguments: Any) -> Any:
        found = plain(**arguments)
        return {**found, "Metadata": {name.title(): value for name, value in found["Metadata"].items()}}

    store._client.head_object = capitals  # type: ignore[method-assign]
    write(store, b"x")
    assert store.get(KEY) == b"x"


def test_uploads_of_another_store_within_the_prefix_are_not_touched(server: Server, store: S3Store) -> None:
    """One prefix may begin with another one, as `a/n` and `a/n/inner`."""
    client, bucket = store._client, store._bucket
    for key in ("a/n/inner/backups/x/stream", "a/n/inner/binlogs/x", "a/n/backups/y/stream", "a/n/binlogs/y"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    later = datetime.now(UTC) + timedelta(hours=2)
    assert store.clean(timedelta(hours=1), later) == ["backups/y/stream", "binlogs/y"]
    inner = open_s3(settings(server, bucket, prefix="a/n/inner"), server.secrets, IMPATIENT)
    assert inner.clean(timedelta(hours=1), later) == ["backups/x/stream", "binlogs/x"]


def test_damaged_parts_are_refused_by_the_server(store: S3Store) -> None:
    """The server compares with our SHA-256: a part that is other than it was summed never counts."""
    plain = store._client.upload_part

    def damage(**arguments: Any) -> Any:
        return plain(**{**arguments, "Body": b"?" + arguments["Body"][1:]})

    store._client.upload_part = damage  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="does not take backups/x/stream: "):
        write(store, NOISE)
    assert nothing_left(store)


# --- what is told -----------------------------------------------------------------------------------------------------
def checked(server: Server, bucket: str, secrets: Path | None = None, **changes: Any) -> str:
    """What check() says of a place."""
    with pytest.raises(StoreError) as error:
        open_s3(settings(server, bucket, **changes), secrets or server.secrets, IMPATIENT).check()
    return str(error.value)


def test_bucket_that_is_not_there(server: Server) -> None:
    assert checked(server, "no-such-bucket") == (
        "s3://no-such-bucket/a/n cannot be used: bucket no-such-bucket does not exist there"
    )


@pytest.mark.parametrize("endpoint", ["http://minio_server:9000", "https://s3..x"])
def test_endpoint_that_is_none(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=rf"^s3://b/n cannot be used: its endpoint is '{endpoint}'; allowed: a URL"):
        open_s3(S3Settings("b", "n", endpoint, None, None, True, None, None, None), tmp_path)


def test_wrong_credentials(server: Server, store: S3Store, tmp_path: Path) -> None:
    label = f"s3://{store._bucket}/a/n cannot be used: "
    (tmp_path / "access-key-id").write_text(s3_server.KEY)
    assert checked(server, store._bucket, tmp_path) == (
        f"{label}of access-key-id and secret-access-key one is missing or empty"
    )
    (tmp_path / "secret-access-key").write_text("wrong")
    assert checked(server, store._bucket, tmp_path) == (
        f"{label}the credentials are not valid there (SignatureDoesNotMatch)"
    )
    (tmp_path / "access-key-id").write_text("nobody")
    assert checked(server, store._bucket, tmp_path).startswith(f"{label}the credentials are not valid there (")


def test_no_credentials(server: Server, store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert checked(server, store._bucket, tmp_path) == (
        f"s3://{store._bucket}/a/n cannot be used: there are no credentials: neither access-key-id and "
        "secret-access-key nor a service account's"
    )
    # what a service account or an environment gives is taken
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
    open_s3(settings(server, store._bucket), tmp_path, IMPATIENT).check()


def test_access_denied(server: Server, store: S3Store, tmp_path: Path) -> None:
    """To somebody who may nothing; then to somebody who may read but not write."""
    s3_server.add_user(server, "guest", tmp_path)
    denied = "access is denied to the credentials in use ("
    assert checked(server, store._bucket, tmp_path).startswith(f"s3://{store._bucket}/a/n cannot be used: {denied}")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["guest"]},
        "Action": ["s3:ListBucket", "s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{store._bucket}", f"arn:aws:s3:::{store._bucket}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    store._client.put_bucket_policy(Bucket=store._bucket, Policy=json.dumps(policy))
    guest = open_s3(settings(server, store._bucket), tmp_path, IMPATIENT)
    guest.check()
    for size in (10, 20 * MIB):
        with pytest.raises(StoreError) as error:
            write(guest, NOISE[:size])
        assert str(error.value).startswith(f"s3://{store._bucket}/a/n does not take {KEY}: {denied}")


def test_certificate_of_another_authority(server: Server, store: S3Store, tmp_path: Path) -> None:
    other = s3_server.make_authority(tmp_path, "other")
    label = f"s3://{store._bucket}/a/n cannot be used: the certificate of {server.endpoint} is not trusted by "
    tail = ", or is not for that name"
    assert checked(server, store._bucket, ca=other) == f"{label}the certificates in {other}{tail}"
    assert checked(server, store._bucket, ca=None) == f"{label}the system's certificates{tail}"
    assert checked(server, store._bucket, ca=tmp_path / "none") == (
        f"s3://{store._bucket}/a/n cannot be used: the file of its CA, {tmp_path / 'none'}, is not there"
    )


def test_certificates_that_are_none(server: Server, store: S3Store, tmp_path: Path) -> None:
    (tmp_path / "cut.crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert checked(server, store._bucket, ca=tmp_path / "cut.crt") == (
        f"s3://{store._bucket}/a/n cannot be used: the certificates in {tmp_path / 'cut.crt'} cannot be read"
    )


class NoS3(BaseHTTPRequestHandler):
    """Answers each request as a web server in front of S3 does: by sending it to https, or below /bad-... with 400."""

    def _answer(self) -> None:
        self.send_response(400 if self.path.startswith("/bad-") else 301)
        self.send_header("Location", "https://s3.example.com/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def no_s3() -> Iterator[str]:
    """Host and port of a server without TLS that is no S3."""
    with ThreadingHTTPServer(("127.0.0.1", 0), NoS3) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def test_https_where_http_is_served(server: Server, no_s3: str) -> None:
    assert checked(server, "any", endpoint=f"https://{no_s3}") == (
        f"s3://any/a/n cannot be used: https://{no_s3} does not answer in TLS; it may serve http"
    )


def test_answer_that_is_not_of_s3(server: Server, no_s3: str) -> None:
    assert checked(server, "bad-bucket", endpoint=f"http://{no_s3}") == (
        f"s3://bad-bucket/a/n cannot be used: http://{no_s3} answers 400 (Bad Request), and not as S3 does; it may "
        "serve https"
    )


def test_server_that_redirects(server: Server, no_s3: str) -> None:
    """Without an end of our own botocore asks for the bucket's region until Python's stack is full."""
    found = open_s3(settings(server, "any", endpoint=f"http://{no_s3}"), server.secrets, IMPATIENT)
    said = f"http://{no_s3} redirects to https://s3.example.com/; allowed: the address of the S3 server itself"
    for work in (found.check, lambda: found.put("x", b""), lambda: found.written("x"), lambda: list(found.list(""))):
        with pytest.raises(StoreError, match=said):
            work()


def test_nobody_listens(server: Server, store: S3Store) -> None:
    endpoint = f"https://127.0.0.1:{s3_server.free_port()}"
    assert checked(server, store._bucket, endpoint=endpoint) == (
        f"s3://{store._bucket}/a/n cannot be used: {endpoint} is not reachable"
    )


def test_server_that_is_silent(server: Server, store: S3Store, link: Link) -> None:
    """It takes the request and never answers."""
    far = through(server, store, link)
    far.check()
    link.down_to, link.hold = 0, True
    with pytest.raises(StoreError) as error:
        far.check()
    assert str(error.value) == (
        f"s3://{store._bucket}/a/n cannot be used: {link.endpoint} did not answer within 1 s, also after retries"
    )


# --- create and object lock -------------------------------------------------------------------------------------------
def test_create_is_atomic(server: Server, store: S3Store) -> None:
    """Of many at the same moment one wins, and what it wrote stays."""
    won: list[int] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        mine = open_s3(settings(server, store._bucket), server.secrets, Patience(5, 20, 5))
        start.wait()
        if mine.create("owner.json", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [b"%d" % number for number in won] == [store.get("owner.json")]


def test_create_where_conditions_are_unknown(store: S3Store) -> None:
    """A server that refuses the header (501): by hand, and still not over what is there."""
    plain = store._client.put_object

    def refuse(**arguments: Any) -> Any:
        if getattr(store._only_new, "active", False):
            store._client.meta.events.unregister("before-call.s3.PutObject", store._add_condition)
            raise store._client.exceptions.ClientError({"Error": {"Code": "NotImplemented"}}, "PutObject")
        return plain(**arguments)

    store._client.put_object = refuse  # type: ignore[method-assign]
    assert store.create("owner.json", b"first")
    assert not store.create("owner.json", b"second")
    assert store.get("owner.json") == b"first"


@pytest.mark.parametrize("size", [10, 20 * MIB])
def test_object_lock(server: Server, request: pytest.FixtureRequest, size: int) -> None:
    """What is locked stays, and says until when; who owns the store and what a verification said is never locked."""
    store = s3_server.bucket(server, name_of(request), object_lock=ObjectLock("GOVERNANCE", 3))
    store.check()
    write(store, NOISE[:size])
    until = datetime.now(UTC) + timedelta(days=3)
    with pytest.raises(LockedError, match=rf"keeps {KEY} until {until:%Y-%m-%d} .* UTC \(object lock\)$"):
        store.delete(KEY)
    assert store.get(KEY) == NOISE[:size]
    for key in ("owner.json", "backups/x/verification.json", "binlogs/x/fork/fork.json"):
        store.put(key, b"1")
        store.put(key, b"2")
        store.delete(key)
        with pytest.raises(MissingError):
            store.get(key)
    versions = store._client.list_object_versions(Bucket=store._bucket)
    assert [one["Key"] for one in versions["Versions"]] == [f"a/n/{KEY}"]


def test_object_lock_on_a_bucket_without(server: Server, store: S3Store) -> None:
    assert checked(server, store._bucket, object_lock=ObjectLock("COMPLIANCE", 1)) == (
        f"s3://{store._bucket}/a/n cannot be used: object_lock is set, and bucket {store._bucket} has no object lock"
    )
