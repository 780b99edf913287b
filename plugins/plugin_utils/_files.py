# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are written only when they are not as they must be. Private to the collection."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

PUBLIC, PRIVATE = 0o644, 0o600


@dataclasses.dataclass(frozen=True)
class File:
    """A file as it must be. private: its owner alone may read it, and it is in no diff."""

    path: Path
    content: str
    private: bool = False

    @property
    def mode(self) -> int:
        return PRIVATE if self.private else PUBLIC

    def settle(self, check_mode: bool) -> dict[str, Any]:
        """Make the file what it must be, in check mode only in words. Raises OSError.

        Returns {"path", "result": created, changed or unchanged, "diff": for Ansible, None where nothing may be shown}.
        """
        before = _look(self.path)
        if before == (self.content.encode(), self.mode):
            return {"path": str(self.path), "result": "unchanged", "diff": None}
        if not check_mode:
            self._write()
        return {"path": str(self.path), "result": "changed" if before else "created", "diff": self._diff(before)}

    def _write(self) -> None:
        """Put the file in place at once, so that a run that is killed leaves the old one or the new one."""
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), self.mode)
                file.write(self.content.encode())
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise

    def _diff(self, before: tuple[bytes, int] | None) -> dict[str, str] | None:
        if self.private:
            return None
        content, mode = before or (b"", None)
        old = "" if mode is None else f" (mode {mode:04o})"
        return {
            "before_header": f"{self.path}{old}",
            "after_header": f"{self.path} (mode {self.mode:04o})",
            "before": content.decode(errors="replace"),
            "after": self.content,
        }


def _look(path: Path) -> tuple[bytes, int] | None:
    """Return content and mode of a file, None where there is none. Raises OSError."""
    try:
        with path.open("rb") as file:
            return file.read(), os.fstat(file.fileno()).st_mode & 0o7777
    except FileNotFoundError:
        return None
