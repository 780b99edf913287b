# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a change asks of MariaDB, and what MariaDB says to it. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils._errors import and_list, shorten

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document, Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

CNF = "galera.cnf"
_PROVIDER = "wsrep_provider_options"
_CHECKSUM = "stateful.galera/config-checksum"
_STAMP = r"^(?:\d{4}-\d\d-\d\d +\d+:\d\d:\d\d +\d+ )?"
_ERROR = re.compile(_STAMP + r"\[ERROR\] (.*)$")
_ADJUSTED = re.compile(
    _STAMP + r"\[Warning\] (.*\b(?:adjusted|[Cc]hanged limits|deprecated|unknown (?:variable|option))\b.*)$"
)
# what follows from an error that was told before
_ECHOES = ("Aborting", "Failed to initialize plugins.", "Installation of system tables failed")
_SIZE = re.compile(r"([0-9]+)([KMGTkmgt]?)")
# Files that a server makes in their full size at its start, and as large as they are tried: 32 MiB, 96 MiB
_LARGE_FILES = ((r"gcache\.size=([^;\"]*)", 1 << 25), (r"^innodb_log_file_size = (.*)$", 96 << 20))


@dataclasses.dataclass(frozen=True)
class Wish:
    """How the nodes are to run, and how they run. text: my.cnf; live_*: "" and {} where there is none yet."""

    stateful_set: Manifest
    text: str
    live_text: str
    live_container: Manifest

    @property
    def container(self) -> Manifest:
        return mariadb_of(self.stateful_set)

    @property
    def check_text(self) -> str:
        """my.cnf for a server without data: files as large as the nodes' would only fill the disk of a machine."""
        text = self.text
        for pattern, most in _LARGE_FILES:
            found = re.search(pattern, text, re.MULTILINE)
            if found and (size_of(found[1].strip()) or 0) > most:
                text = f"{text[: found.start(1)]}{most}{text[found.end(1) :]}"
        return text

    @property
    def changed_options(self) -> dict[str, str]:
        """Options of my.cnf with another value, or new; those of the provider one by one, behind its name."""
        before, after = options(self.live_text), options(self.text)
        return {name: value for name, value in after.items() if before.get(name) != value}


def find_wish(
    names: Names, live: t.Mapping[tuple[str, str], Manifest], changes: t.Sequence[Document], new: bool = False
) -> Wish | None:
    """What is to be tried; None where nodes run with the same my.cnf, image and resources.

    new: also where there are no nodes yet.
    """
    sent = {document.key: document.manifest for document in changes}
    nodes, config = ("StatefulSet", names.nodes), ("ConfigMap", names.config)
    running, wanted = live.get(nodes), sent.get(nodes) or live.get(nodes)
    if wanted is None or not (nodes in sent or config in sent) or (running is None and not new):
        return None
    live_text = text_of(live.get(config))
    text = text_of(sent[config]) if config in sent else live_text
    if running is None:
        return Wish(wanted, text, "", {})
    before, after = mariadb_of(running), mariadb_of(wanted)
    same = text == live_text and all(_equal(before.get(key), after.get(key)) for key in ("image", "resources"))
    if same and _checksum(running) == _checksum(wanted):
        return None
    return Wish(wanted, text, live_text, before)


def text_of(config: Manifest | None) -> str:
    return str(((config or {}).get("data") or {}).get(CNF, ""))


def mariadb_of(stateful_set: Manifest) -> Manifest:
    """The container of the database, {} where there is none."""
    containers = ((stateful_set["spec"].get("template") or {}).get("spec") or {}).get("containers") or []
    return next((each for each in containers if each["name"] == "mariadb"), {})


def _checksum(stateful_set: Manifest) -> t.Any:
    metadata = (stateful_set["spec"].get("template") or {}).get("metadata") or {}
    return (metadata.get("annotations") or {}).get(_CHECKSUM)


def _equal(one: t.Any, other: t.Any) -> bool:
    return bool((one or None) == (other or None))


def size_of(value: str) -> int | None:
    """Bytes of a size as MariaDB and the Galera provider write it, 128M for one; None where it is none."""
    size = _SIZE.fullmatch(value)
    return None if size is None else int(size[1]) * 1024 ** " KMGT".index(size[2].upper() or " ")


def options(text: str) -> dict[str, str]:
    """Options of my.cnf by name; those of the provider as "wsrep_provider_options.<name>"."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not equals or line.lstrip().startswith(("#", "[")):
            continue
        if name.strip() == _PROVIDER:
            for part in value.strip().strip("\"'").split(";"):
                option, _equals, setting = part.partition("=")
                found[f"{_PROVIDER}.{option.strip()}"] = setting.strip()
        else:
            found[name.strip()] = value.strip()
    return found


def reason_in(ended: Manifest, log: str) -> str:
    """Why the server did not start, "" when it did. ended: the pod; log: its last lines."""
    status = ended.get("status") or {}
    if status.get("phase") == "Succeeded" and "galera check: started" in log:
        return ""
    states = [each.get("state") or {} for each in status.get("containerStatuses") or []]
    terminated: Manifest = next((state["terminated"] for state in states if "terminated" in state), {})
    if terminated.get("reason") == "OOMKilled":
        return "it was killed because it needs more memory than its limit"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [match.group(1) for line in lines if (match := _ERROR.match(line))]
    telling = [each for each in errors if not each.startswith(_ECHOES)]
    said = [re.sub(r"^(/\S*/)?mariadbd: ", "", each) for each in telling or lines[-3:]]
    if status.get("reason") == "DeadlineExceeded":
        return f"it was not ready in time; its last words: {shorten(' '.join(lines[-3:]), 400)}"
    return shorten(" ".join(dict.fromkeys(said[:2])), 500).rstrip(".") or str(
        status.get("message") or "it said nothing"
    )


def series_of(version: str) -> tuple[int, int] | None:
    """(11, 8) for "11.8.6-MariaDB-log"; None where it is no version."""
    match = re.match(r"([0-9]+)\.([0-9]+)\.", version)
    return (int(match[1]), int(match[2])) if match else None


def goes_back(wish: Wish, log: str, running: t.Sequence[str]) -> str:
    """Why an image may not take over the data, "" where it may. log: of its start; running: versions of the servers.

    Where only some servers are of a newer series, a change to that one is being taken back.
    """
    said = re.search(r"^Version: '([^']*)'", log, re.MULTILINE)
    wanted, known = series_of(said[1] if said else ""), [series_of(each) for each in running]
    image = wish.container.get("image")
    if wanted is None or image == wish.live_container.get("image") or not known:
        return ""
    if not all(each is not None and each > wanted for each in known):
        return ""
    now = and_list(sorted({each.partition("-")[0] for each in running}))
    return (
        f"galera_cluster_docker_image={image} is MariaDB {wanted[0]}.{wanted[1]}, the nodes run {now}: MariaDB does "
        f"not go back to an older series on data of a newer one. Make a new cluster and load a dump into it."
    )


def blame(wish: Wish, reason: str) -> str:
    """The variable to change, its value, and MariaDB's words."""
    image = str(wish.container.get("image"))
    changed = wish.changed_options
    named = {name: value for name, value in changed.items() if _names(reason, name)}
    is_new = not wish.live_container
    # of a new cluster all options are new: only those that MariaDB names are suspects
    suspects = [_told(name, value) for name, value in sorted((named if named or is_new else changed).items())]
    if not named and not is_new:
        if wish.live_container.get("image") != image:
            suspects.append(f"galera_cluster_docker_image={image}")
        resources = wish.container.get("resources")
        if not _equal(wish.live_container.get("resources"), resources):
            suspects.append(f"galera_cluster_resources={json.dumps(resources, sort_keys=True)}")
    what = and_list(suspects) if suspects else "The configuration of the nodes"
    return f"{what}: MariaDB ({image}) does not start with it: {reason}."


def _names(reason: str, option: str) -> bool:
    plain = option.removeprefix(f"{_PROVIDER}.").lower().replace("_", "-")
    return bool(re.search(rf"(?<![\w.-]){re.escape(plain)}(?![\w-])", reason.lower().replace("_", "-")))


def _told(name: str, value: str) -> str:
    if name.startswith(f"{_PROVIDER}."):
        return f"galera_cluster_provider_options: {name.removeprefix(f'{_PROVIDER}.')}={value}"
    return f"galera_cluster_mycnf: {name}={value}"


def warnings_in(wish: Wish, log: str) -> list[str]:
    """What MariaDB says of options that it takes differently than they were given."""
    found = [match.group(1) for line in log.splitlines() if (match := _ADJUSTED.match(line.strip()))]
    changed = wish.changed_options
    # what was so before is no news of this change
    news = [text for text in dict.fromkeys(found) if any(_names(text, name) for name in changed)]
    return [f"MariaDB takes the wanted configuration, but says: {shorten(text, 300)}" for text in news]
