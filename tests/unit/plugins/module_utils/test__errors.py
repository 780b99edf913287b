# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.stateful.galera.plugins.module_utils._errors import (
    ApiError,
    RefusedError,
    and_list,
    shorten,
)


@pytest.mark.parametrize(
    ("words", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_and_list(words: list[str], text: str) -> None:
    assert and_list(words) == text


@pytest.mark.parametrize(
    ("text", "longest", "short"),
    [("a\n  b\tc", 20, "a b c"), ("abcdefghij", 10, "abcdefghij"), ("abcdefghijk", 10, "abcdefg...")],
)
def test_shorten(text: str, longest: int, short: str) -> None:
    assert shorten(text, longest) == short


STATUS = {
    "kind": "Status",
    "status": "Failure",
    "message": 'configmaps "x" not found',
    "reason": "NotFound",
    "code": 404,
}


@pytest.mark.parametrize(
    ("status", "body", "what", "reason", "text"),
    [
        (404, json.dumps(STATUS).encode(), "", "NotFound", 'configmaps "x" not found'),
        (
            404,
            json.dumps(STATUS).encode(),
            "ConfigMap x was not accepted",
            "NotFound",
            'ConfigMap x was not accepted: configmaps "x" not found',
        ),
        (502, b"<html>\nBad Gateway</html>", "", "", "<html> Bad Gateway</html>"),
        (503, b"", "", "", "HTTP status 503 without a message"),
        (403, b'{"kind": "Status"}', "", "", "HTTP status 403 without a message"),
        (500, b"\xff\xfe", "", "", "\ufffd\ufffd"),
    ],
)
def test_api_error(status: int, body: bytes, what: str, reason: str, text: str) -> None:
    error = ApiError.of(status, body, what)
    assert (error.status, error.reason, str(error)) == (status, reason, text)


@pytest.mark.parametrize(
    ("problems", "text"),
    [
        (["A is wrong."], "A is wrong. Nothing was changed."),
        (["A is wrong.", "A is wrong."], "A is wrong. Nothing was changed."),
        (["A is wrong.", "B too."], "2 problems, nothing was changed: (1) A is wrong. (2) B too."),
    ],
)
def test_refused(problems: list[str], text: str) -> None:
    assert str(RefusedError(problems)) == text
