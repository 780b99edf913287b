# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that age-keygen has made, and typing errors in them."""

from __future__ import annotations

import pytest
from ansible_collections.stateful.galera.plugins.plugin_utils._age import is_identity, is_recipient
from ansible_collections.stateful.galera.plugins.plugin_utils._formats import FORMATS
from ansible_collections.stateful.galera.plugins.plugin_utils._structures import check_recipients

RECIPIENTS = (
    "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
    "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
)
IDENTITY = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"


def test_keys_of_age_are_right() -> None:
    assert check_recipients("r", list(RECIPIENTS)) == []
    assert FORMATS["galera_cluster_backup_age_identity"].read(IDENTITY) == IDENTITY
    assert not any(map(is_recipient, (IDENTITY, IDENTITY.lower(), "", "age1")))
    assert not any(map(is_identity, (RECIPIENTS[0], RECIPIENTS[0].upper(), IDENTITY.lower(), "")))


@pytest.mark.parametrize("place", range(4, 62))
def test_each_typing_error_is_found(place: int) -> None:
    key = RECIPIENTS[0]
    other = "q" if key[place] != "q" else "p"
    wrong = (key[:place] + other + key[place + 1 :], key[:place] + key[place + 1 :], f"{key}q", key.upper())
    assert not any(map(is_recipient, wrong))
    swapped = key[: place - 1] + key[place] + key[place - 1] + key[place + 1 :]
    assert is_recipient(swapped) == (swapped == key)


def test_a_private_key_among_the_recipients_is_not_shown() -> None:
    (said,) = check_recipients("r", [IDENTITY])
    assert said.startswith("r[0] is a private key, but must be a recipient of age")
    assert "GFPYY" not in said
    with pytest.raises(ValueError, match=r"^no identity$"):
        FORMATS["galera_cluster_backup_age_identity"].read(IDENTITY[:-1])
