# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What the agents publish about backups, and requests to them. Pure.

The ConfigMap <name>-galera-backup-state has four keys that are a JSON text: `request` and `result` (one at a time),
`catalog`, {"leader", "catalog": {"time", "targets": [...]}, "settings", "running", "last", "archive", "next"}, and
while agents refuse the settings `refused`, {"message"}. settings: the digest of those by which the catalog says what
retention lets go. When its key `look`, a time, changes the leader looks at the targets.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest

Entry = dict[str, t.Any]

# What the message of the answer to a request begins with that waits for something
_WAITS = "waits: "
_VERIFIED = {True: "yes", False: "failed", None: "no"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What became of a request. state: open, running, succeeded or failed; backup: its name, if there is one."""

    state: str
    backup: str = ""
    message: str = ""


def state_name(name: str) -> str:
    """Name of the ConfigMap."""
    return f"{name}-galera-backup-state"


def lease_name(name: str) -> str:
    """Name of the Lease of the agent that leads the backups."""
    return f"{name}-galera-backup"


def settings_name(name: str) -> str:
    """The ConfigMap with the settings of backups."""
    return f"{name}-galera-backup"


def settings_digest(settings: Manifest | None) -> str | None:
    """SHA-256 of the settings in that ConfigMap, None without any. The agents get these later than they are applied."""
    text = ((settings or {}).get("data") or {}).get("backup.json")
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def outdated(published: Entry, settings: Manifest | None) -> str:
    """That the agents have told what retention lets go by settings of before, "" where they have not.

    settings: the ConfigMap with the present ones. Agents of older releases do not say by which.
    """
    told = published.get("settings")
    if not told or told == settings_digest(settings):
        return ""
    return (
        "what retention lets go with the next backup is told by the settings of before, and that backup follows the "
        "present ones, which the agents have within two minutes"
    )


def document(state: Manifest | None, key: str) -> Entry:
    """One key of the ConfigMap, {} where it is not there. Raises GaleraError where it is no JSON object."""
    text = ((state or {}).get("data") or {}).get(key)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise GaleraError(f"The key {key} of the ConfigMap {state['metadata']['name'] if state else ''} is not JSON.")
    return found


def open_request(state: Manifest | None) -> Entry | None:
    """The request that somebody has made and that has no final answer."""
    request = document(state, "request")
    if not request.get("id") or answer_to(state, str(request["id"])).state in ("succeeded", "failed"):
        return None
    return request


def answer_to(state: Manifest | None, identity: str) -> Answer:
    """The answer to the request of that id."""
    result = document(state, "result")
    if result.get("id") != identity:
        return Answer("open")
    return Answer(str(result.get("state")), str(result.get("backup") or ""), str(result.get("message") or ""))


def refused(state: Manifest | None) -> str:
    """Why the agents refuse the settings of backups, "" where they do not."""
    message = document(state, "refused").get("message")
    return f"the agents refuse the settings of backups, and take none: {message}" if message else ""


def waits(state: Manifest | None, answer: Answer) -> str:
    """What hinders a request that has this answer, "" where nothing does."""
    if answer.state == "running" and answer.message.startswith(_WAITS):
        return answer.message
    return refused(state) if answer.state == "open" else ""


def progress(state: Manifest | None) -> str:
    """What the leader says about itself, for whoever waits, and what the open request waits for."""
    request = open_request(state)
    hindered = waits(state, answer_to(state, str(request["id"]))) if request else refused(state)
    if hindered:
        return hindered
    published = document(state, "catalog")
    leader, running, last = published.get("leader"), published.get("running"), published.get("last")
    if not leader:
        return "no agent leads the backups yet"
    if running:
        return f"{leader} takes a {running.get('kind') or 'backup'} ({running.get('reason') or running.get('command')})"
    said = f", which last said: {last.get('message')}" if last else ""
    return f"{leader} leads the backups{said}"


def reach(state: Manifest | None, uuid: str) -> str:
    """Up to when backups of a cluster's history can restore it, a sentence; "" where there are none.

    What the agents published last, which may be older than what their archive holds. Raises GaleraError.
    """
    found = []
    for target in (document(state, "catalog").get("catalog") or {}).get("targets") or []:
        own = {one["name"] for one in target.get("backups") or [] if one.get("uuid") == uuid and not one.get("problem")}
        ends = [one["until"] for one in target.get("intervals") or [] if one.get("backup") in own and one.get("until")]
        found += [(end, target["target"]) for end in ends]
    if not found:
        return ""
    end, where = max(found)
    return f"Backups of it reach at least to {end} ({where}): a restore to that time may bring back more than is left."


def merged(targets: t.Sequence[Entry], now: datetime.datetime) -> list[Entry]:
    """The backups of all targets, oldest first; one that several targets hold once, with its targets.

    Each is what the agent says of it, and chain (names from the full backup to it), age_seconds, and targets.
    """
    found: dict[str, Entry] = {}
    for target in targets:
        for backup in target.get("backups") or []:
            known = found.setdefault(backup["name"], {**backup, "targets": []})
            known["targets"].append(target["target"])
            # a copy that is whole and one that has passed count for the backup
            if not backup.get("problem"):
                known["problem"] = None
            known["verified"] = known.get("verified") or backup.get("verified")
    for backup in found.values():
        backup["chain"] = chain_of(backup, found)
        finished = datetime.datetime.fromisoformat(str(backup["finished"]))
        backup["age_seconds"] = max(int((now - finished).total_seconds()), 0)
    return [found[name] for name in sorted(found)]


def chain_of(backup: Entry, known: t.Mapping[str, Entry]) -> list[str]:
    """Names from the full backup to this one, as far as they are known."""
    names: list[str] = []
    one: Entry | None = backup
    while one is not None and one["name"] not in names:
        names.insert(0, one["name"])
        one = known.get(one.get("parent") or "")
    return names


def expiring(catalog: Entry) -> list[Entry]:
    """What retention lets go with the next backup: target, name and reason."""
    targets = catalog.get("targets") or []
    return [{"target": target["target"], **one} for target in targets for one in target.get("expiring") or []]


def facts(catalog: Entry, now: datetime.datetime) -> Entry:
    """What backup_info returns, from the agent's document of the targets."""
    targets = catalog.get("targets") or []
    problems = [f"{target['target']}: {problem}" for target in targets for problem in _problems(target)]
    holes = [
        {"target": target["target"], "since": since, "until": until}
        for target in targets
        for since, until in target.get("holes") or []
    ]
    intervals = [{"target": target["target"], **one} for target in targets for one in target.get("intervals") or []]
    return {
        "time": catalog.get("time"),
        "backups": merged(targets, now),
        "intervals": intervals,
        "holes": holes,
        "expiring": expiring(catalog),
        "problems": problems,
        "targets": [
            {"target": target["target"], "owner": target.get("owner"), "error": target.get("error")}
            for target in targets
        ],
    }


def failures(published: Entry) -> list[str]:
    """What the agent that leads tried last in vain, or waits for, one sentence each.

    Its catalog may be of before that.
    """
    last, archive = published.get("last") or {}, published.get("archive") or {}
    tried = (
        ("verification" if last.get("command") == "verify" else "backup", last),
        ("archive of binary logs", archive),
    )
    failed = [
        f"the last {what} failed, at {one.get('time')}: {one.get('message')}"
        for what, one in tried
        if one.get("state") == "failed"
    ]
    return [f"a backup is due, and {published['suspended']}", *failed] if published.get("suspended") else failed


def _problems(target: Entry) -> list[str]:
    error = [target["error"]] if target.get("error") else []
    return [*error, *(target.get("problems") or [])]


def table(backups: t.Sequence[Entry], intervals: t.Sequence[Entry], expires: t.Sequence[Entry] = ()) -> list[str]:
    """The backups as lines of text, what can be restored, and what will expire."""
    rows = [["name", "age", "size", "chain", "verified", "problem", "targets"]]
    rows += [
        [
            one["name"],
            age(one["age_seconds"]),
            f"{one['size'] / 2**20:.1f} MiB",
            str(len(one["chain"])),
            _VERIFIED[one.get("verified")],
            one.get("problem") or "",
            ", ".join(one["targets"]),
        ]
        for one in backups
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{one['target']}: any time from {one['since']} to {one['until']}" for one in intervals]
    return lines + [f"{one['target']}: {one['name']} goes with the next backup: it {one['reason']}" for one in expires]


def age(seconds: int) -> str:
    """Seconds as 3d 4h, 4h 5m, 5m or 0m."""
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m"


def last_report(log: t.Sequence[str]) -> Entry:
    """The last line of a Job of the agent, which is JSON. Raises GaleraError where it is not."""
    for line in reversed(log):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and found.get("type") == "end":
            return found
    raise GaleraError(f"The Job did not say how it ended; its last words: {' '.join(log[-3:]) or 'none'}")
