# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials by the service account of the pod, as clouds give them: a token in a file, changed for keys."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import s3_server
from galera_agent.backup.s3_store import open_s3
from galera_agent.backup.store import StoreError
from s3_server import IMPATIENT, KEY, SECRET, Server, settings

BUCKET = "b-account"
# The S3 server knows no sessions: an answer without the token of one is what it takes
ANSWER = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>
<SessionToken></SessionToken><Expiration>{:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


class Tokens(ThreadingHTTPServer):
    """The service that changes tokens for keys of the S3 server. asked: (role, token); seconds: for which keys hold."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.seconds = 3600
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                words = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                tokens.asked.append((words["RoleArn"][0], words["WebIdentityToken"][0]))
                expiry = datetime.now(UTC) + timedelta(seconds=tokens.seconds)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(ANSWER.format(KEY, SECRET, expiry).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def tokens() -> Iterator[Tokens]:
    with Tokens() as found:
        yield found
        found.shutdown()


@pytest.fixture
def account(server: Server, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a cloud puts into a pod with such a service account; the file of the token."""
    if not (server.root / BUCKET).exists():
        s3_server.bucket(server, BUCKET)
    token = tmp_path / "token"
    token.write_text("first")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/galera")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{tokens.server_port}")
    return token


def test_without_keys_the_token_of_the_pod_is_changed_for_some(
    server: Server, tokens: Tokens, account: Path, tmp_path: Path
) -> None:
    store = open_s3(settings(server, BUCKET), tmp_path, IMPATIENT)
    store.check()
    with store.writer("backups/x/stream") as writer:
        writer.write(b"data")
        writer.commit()
    assert (server.root / BUCKET / "a/n/backups/x/stream").read_bytes() == b"data"
    assert tokens.asked == [("arn:aws:iam::1:role/galera", "first")]


def test_keys_that_expire_are_changed_for_new_ones_with_the_token_of_then(
    server: Server, tokens: Tokens, account: Path, tmp_path: Path
) -> None:
    tokens.seconds = 5
    store = open_s3(settings(server, BUCKET), tmp_path, IMPATIENT)
    store.check()
    account.write_text("second")
    store.check()
    assert [token for _, token in tokens.asked] == ["first", "second"]


def test_keys_of_the_secret_come_first(server: Server, tokens: Tokens, account: Path) -> None:
    open_s3(settings(server, BUCKET), server.secrets, IMPATIENT).check()
    assert tokens.asked == []


def test_a_token_that_is_not_there(server: Server, tokens: Tokens, account: Path, tmp_path: Path) -> None:
    account.unlink()
    with pytest.raises(StoreError, match=rf"^s3://{BUCKET}/a/n cannot be used: .*{account}"):
        open_s3(settings(server, BUCKET), tmp_path, IMPATIENT).check()
