# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stateful.galera.plugins.filter.split_documents import split_documents

CASES: list[tuple[list[str], list[str]]] = [
    ([], []),
    (["a: 1\n"], ["a: 1\n"]),
    (["# one\na: 1\n---\n# two\na: 2\n", "b: 1\n"], ["# one\na: 1\n", "# two\na: 2\n", "b: 1\n"]),
    (["---\na: 1\n---\n\n"], ["a: 1\n"]),
    (['a: "---"\nb: |\n  ---\n  c\n'], ['a: "---"\nb: |\n  ---\n  c\n']),
]


@pytest.mark.parametrize(("texts", "documents"), CASES)
def test_split_documents(texts: list[str], documents: list[str]) -> None:
    assert split_documents(texts) == documents
