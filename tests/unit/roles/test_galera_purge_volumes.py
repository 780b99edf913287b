# SPDX-License-Identifier: GPL-3.0-or-later
"""Which volumes the roles that destroy data mean, and when one counts as wiped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import INVENTORIES, ROOT, collection_environment

PURGE, TEARDOWN = ROOT / "roles" / "galera_purge_volumes", ROOT / "roles" / "galera_teardown"
CLAIMS = ["demo-galera-seed-volume-claim", *(f"data-demo-galera-{ordinal}" for ordinal in (0, 1, 2, 3, 10))]
OTHERS = ["demo-galera-backup-volume-claim", "data-demo-galera-seed-0", "data-other-demo-galera-0", "data-demo-galera"]


def _listed(names: list[str]) -> dict[str, Any]:
    return {"resources": [{"metadata": {"name": name}} for name in names]}


def _job(name: str, *conditions: str, **status: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {**status, **({"conditions": [{"type": each} for each in conditions]} if conditions else {})},
    }


def _tasks(role: Path) -> list[dict[str, Any]]:
    """The tasks of a role, those of blocks after their block."""
    left, found = yaml.safe_load((role / "tasks" / "main.yml").read_text()), []
    while left:
        each = left.pop(0)
        found.append(each)
        left = [*each.get("block", []), *each.get("always", []), *left]
    return found


def _see(folder: Path, role: Path, values: dict[str, str], *given: dict[str, Any]) -> list[Any]:
    """What a role's variables are, for each of some registered results."""
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.import_role": {"name": "stateful.galera.galera", "rolespec_validate": False}},
        {"ansible.builtin.include_vars": str(role / "vars" / "main.yml")},
    ]
    (block,) = [each for each in _tasks(role) if "block" in each and "vars" in each] or [{}]
    for number, found in enumerate(given):
        copy = {"dest": str(folder / f"{number}"), "content": "{{ __seen | to_json }}", "mode": "0600"}
        values_of_task = {**block.get("vars", {}), "__seen": values, "__galera_collection_dir": str(ROOT), **found}
        tasks.append({"ansible.builtin.copy": copy, "vars": values_of_task})
    play = {"hosts": "template_target", "connection": "local", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"ansible_python_interpreter": sys.executable}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(INVENTORIES["local"])]
    command += [str(folder / "play.yml"), "-e", "galera_cluster_name=demo"]
    environment = {**os.environ, **collection_environment()}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads((folder / f"{number}").read_text()) for number in range(len(given))]


def test_all_volumes_are_wiped_also_those_of_nodes_that_have_left(tmp_path: Path) -> None:
    claim = "spec.template.spec.volumes.0.persistentVolumeClaim.claimName"
    jobs = f"{{{{ __galera_purge_volumes_jobs | map(attribute='{claim}') }}}}"
    found = [{"__galera_purge_volumes_claims": _listed(names)} for names in (CLAIMS + OTHERS, OTHERS)]
    wiped, none = _see(tmp_path, PURGE, {"jobs": jobs}, *found)
    assert (sorted(wiped["jobs"]), none["jobs"]) == (sorted(CLAIMS), [])


def test_a_volume_is_wiped_when_its_job_says_so(tmp_path: Path) -> None:
    """The condition SuccessCriteriaMet comes before the pod that succeeded is counted."""
    values = {
        "going_on": "{{ __galera_purge_volumes_going_on | length }}",
        "failed": "{{ __galera_purge_volumes_failed | list }}",
    }
    one, two = "purge-data-demo-galera-0", "purge-data-demo-galera-1"
    claims = {"__galera_purge_volumes_claims": _listed(["data-demo-galera-0", "data-demo-galera-1"])}
    done = _job(one, "SuccessCriteriaMet", "Complete", succeeded=1)
    ends = ([done, _job(two, "SuccessCriteriaMet")], [done, _job(two)], [done, _job(two, "Failed", failed=1)], [done])
    found = [{**claims, "__galera_purge_volumes_ended": {"resources": jobs}} for jobs in ends]
    seen = _see(tmp_path, PURGE, values, *found)
    assert [each["going_on"] for each in seen] == [1, 1, 0, 0]
    assert [each["failed"] for each in seen[2:]] == [[two], [two]]


def test_who_reads_of_a_failure_finds_words_of_it(tmp_path: Path) -> None:
    """The pods of a Job that passed its deadline are deleted: it has no log, and asking for it says nothing."""
    one, two = "purge-data-demo-galera-0", "purge-data-demo-galera-1"
    late = _job(one, "Failed", failed=1)
    late["status"]["conditions"][0]["reason"] = "DeadlineExceeded"
    claims = {"__galera_purge_volumes_claims": _listed(["data-demo-galera-0", "data-demo-galera-1"])}
    ends = ([late, _job(two, "Complete", succeeded=1)], [late, _job(two, "Failed", failed=1)])
    found = [{**claims, "__galera_purge_volumes_ended": {"resources": jobs}} for jobs in ends]
    (refusal,) = [each["ansible.builtin.assert"] for each in _tasks(PURGE) if "was not wiped" in each["name"]]
    alone, both = _see(tmp_path, PURGE, {"said": refusal["fail_msg"]}, *found)
    assert alone["said"].startswith(f"these Jobs did not wipe their volume: {one}. They were not done within ")
    assert "galera_cluster_wait_timeout=900 s and were given up: kubectl -n " in alone["said"]
    assert "logs" not in alone["said"]
    assert both["said"].startswith(f"these Jobs did not wipe their volume: {one}, {two}. kubectl -n ")
    assert both["said"].endswith(f"logs job/{two} tells why.")


def test_teardown_deletes_all_volumes_of_the_cluster_and_no_others(tmp_path: Path) -> None:
    values = {"names": "{{ __galera_teardown_data | map(attribute='metadata.name') }}"}
    found = [{"__galera_teardown_found": _listed(CLAIMS + OTHERS)}, {"__galera_teardown_found": {"skipped": True}}]
    seen, none = _see(tmp_path, TEARDOWN, values, *found)
    assert sorted(seen["names"]) == sorted([*CLAIMS, "demo-galera", "demo-galera-state"])
    assert none["names"] == [CLAIMS[0], "demo-galera", "demo-galera-state"]


@pytest.mark.parametrize("role", [PURGE, TEARDOWN])
def test_the_lease_is_given_back_where_a_task_fails(role: Path) -> None:
    """It is long, and of a play in another container nobody can tell that it ended: the next is refused."""
    lease = "stateful.galera.lease"
    tasks = yaml.safe_load((role / "tasks" / "main.yml").read_text())
    (taken,) = [place for place, each in enumerate(tasks) if each.get(lease, {}).get("state") == "held"]
    (guarded,) = tasks[taken + 1 :]
    assert [each[lease]["state"] for each in guarded["always"]] == ["released"]
    assert not any("rescue" in each for each in _tasks(role))
