# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of age, checked by the checksum that is part of them (bech32, BIP 173), so that a typing error is found at once.

Pure; private to the collection.
"""

from __future__ import annotations

_DIGITS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
# 32 bytes in digits of 5 bits, and the checksum
_LENGTH = 52 + 6


def is_recipient(text: str) -> bool:
    """Tell whether the text is a public key, age1..."""
    return _is_key(text, "age")


def is_identity(text: str) -> bool:
    """Tell whether the text is a private key, AGE-SECRET-KEY-1..."""
    return text == text.upper() and _is_key(text.lower(), "age-secret-key-")


def _is_key(text: str, kind: str) -> bool:
    name, separator, digits = text.rpartition("1")
    if name != kind or not separator or len(digits) != _LENGTH or any(one not in _DIGITS for one in digits):
        return False
    expanded = [*(ord(one) >> 5 for one in kind), 0, *(ord(one) & 31 for one in kind)]
    return _remainder([*expanded, *map(_DIGITS.index, digits)]) == 1


def _remainder(values: list[int]) -> int:
    """Return what is left of the values as a polynomial, divided by that of the checksum."""
    found = 1
    for value in values:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            found ^= generator if top >> bit & 1 else 0
    return found
