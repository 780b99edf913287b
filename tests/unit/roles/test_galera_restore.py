# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role that restores makes of what it finds; tests/e2e/test_backup.py has it with a cluster."""

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

ROLE = ROOT / "roles" / "galera_restore"
OLD, NEW = "5ff0b4a2-0000-11f1-93a7-c7172da62f24", "b92a5059-e57e-11f1-93a7-c7172da62f24"


def found(uuid: str = "", recorded: dict[str, Any] | None = None, claims: int = 1, seed: bool = False) -> Any:
    """What see.yml registers. recorded: the annotation of the last restore."""
    state: dict[str, Any] = {"metadata": {"name": "demo-galera-state", "annotations": {}}}
    if recorded is not None:
        state["metadata"]["annotations"]["stateful.galera/restore"] = json.dumps(recorded)
    state["data"] = {"cluster": json.dumps({"uuid": uuid})} if uuid else None
    sets = [{"metadata": {"name": "demo-galera-seed"}}] if seed else []
    volumes = [{"metadata": {"name": f"data-demo-galera-{ordinal}"}} for ordinal in range(claims)]
    return {"objects": {"ConfigMap": [state], "PersistentVolumeClaim": volumes, "StatefulSet": sets}}


Find = tuple[Any, dict[str, Any]]


def play(folder: Path, tasks: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run tasks with the role's variables."""
    before: list[dict[str, Any]] = [
        {"ansible.builtin.import_role": {"name": "stateful.galera.galera", "rolespec_validate": False}},
        {"ansible.builtin.include_vars": str(ROLE / "vars" / "main.yml")},
    ]
    content = {"hosts": "template_target", "connection": "local", "gather_facts": False, "tasks": before + tasks}
    content["vars"] = {"ansible_python_interpreter": sys.executable}
    (folder / "play.yml").write_text(yaml.safe_dump([content]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(INVENTORIES["local"])]
    command += [str(folder / "play.yml"), "-e", "galera_cluster_backup_s3_bucket=backups"]
    environment = {**os.environ, **collection_environment()}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def said(*lines: str) -> dict[str, Any]:
    """What volumes.yml registers. lines: the last ones of the Jobs."""
    return {"__galera_restore_volumes": {"results": [{"message": line} for line in lines]}}


def guarded(file: str) -> list[dict[str, Any]]:
    """The tasks that a file has under the Lease."""
    lease, block = yaml.safe_load((ROLE / "tasks" / file).read_text())
    assert (lease["stateful.galera.lease"]["state"], lease["stateful.galera.lease"]["duration"]) == ("held", 60)
    tasks: list[dict[str, Any]] = block["block"]
    return tasks


@pytest.fixture
def see(tmp_path: Path) -> Any:
    """Gives what the role's variables say of what was found, for each of some (found, variables of the inventory)."""
    (volumes,) = yaml.safe_load((ROLE / "tasks" / "volumes.yml").read_text())
    (recording,) = (each for each in guarded("in_place.yml") if each["name"].startswith("Record the restore"))
    words = ("step", "identity", "key", "before", "undo_step")
    seen = {word: f"{{{{ __galera_restore_{word} }}}}" for word in words} | {"volumes": volumes["loop"]}
    seen["recorded"] = recording["stateful.galera.state"]["annotations"]["stateful.galera/restore"]
    given = {**volumes.get("vars", {}), "__seen": seen, "__galera_restore_done": {"message": "restored the backup"}}
    given |= {"__galera_restore_job": "aside_job", "__galera_collection_dir": str(ROOT), **said()}

    def run(*finds: Find) -> list[dict[str, Any]]:
        tasks = []
        for number, (find, more) in enumerate(finds):
            copy = {"dest": str(tmp_path / f"{number}"), "content": "{{ __seen | to_json }}", "mode": "0600"}
            tasks.append({"ansible.builtin.copy": copy, "vars": {**given, "__galera_restore_found": find, **more}})
        done = play(tmp_path, tasks)
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads((tmp_path / f"{number}").read_text()) for number in range(len(finds))]

    return run


def test_a_restore_that_is_made_again_later_is_another_one(see: Any) -> None:
    """A, then B, then A once more, then A after it was undone: each sets its own generation aside."""
    first, older = see((found(OLD), {}), (found(OLD), {"galera_restore_backup": "other"}))
    assert first["step"] == "in_place"
    recorded = {"id": first["identity"], "key": first["key"], "said": "", "before": {"cluster": "old"}}
    later = {"id": "123", "key": older["key"], "said": "", "before": {}}
    gone_on, done, other, again, undone, same = see(
        (found(recorded=recorded), {}),
        (found(NEW, recorded), {}),
        (found(NEW, recorded), {"galera_restore_backup": "other"}),
        (found(OLD, later), {}),
        (found(OLD, {"undone": first["identity"], "said": ""}), {}),
        (found(OLD), {}),
    )
    # the record is written: a run that was killed goes on as the same restore, and knows what it has replaced
    assert (gone_on["step"], gone_on["identity"], gone_on["before"]) == ("new", first["identity"], recorded["before"])
    assert (done["step"], same["identity"]) == ("nothing", first["identity"])
    assert {other["step"], again["step"], undone["step"]} == {"in_place"}
    assert len({each["identity"] for each in (first, older, other, again, undone)}) == 5


def test_a_restore_that_an_older_release_recorded_is_known_again(see: Any) -> None:
    (first,) = see((found(OLD), {}))
    (seen,) = see((found(NEW, {"id": first["key"], "said": "", "before": {}}), {}))
    assert (seen["step"], seen["identity"]) == ("nothing", first["key"])


def test_all_volumes_of_nodes_are_worked_on_also_those_beyond_the_size(see: Any) -> None:
    seen, none = see((found(OLD, claims=5), {}), (found(claims=0), {}))
    jobs = [yaml.safe_load(text) for text in seen["volumes"]]
    assert [job["metadata"]["name"] for job in jobs] == [f"aside-data-demo-galera-{ordinal}" for ordinal in range(5)]
    assert jobs[0]["spec"]["template"]["spec"]["containers"][0]["args"] == ["aside", "/volume", seen["identity"]]
    assert none["volumes"] == []
    # one that finds no machine must not move the data of a cluster that was started since
    assert {job["spec"].get("activeDeadlineSeconds") for job in jobs} == {910}


@pytest.mark.parametrize(
    ("file", "checks"), [("in_place.yml", ["whole.yml", "consent.yml"]), ("undo_data.yml", ["begun.yml"])]
)
def test_what_there_is_is_read_again_before_it_is_replaced(file: str, checks: list[str]) -> None:
    """A backup may take hours to restore: restore_undo brings back the record of then, and consent is to that."""
    tasks = guarded(file)
    imported = [one["ansible.builtin.import_tasks"] for one in tasks if "ansible.builtin.import_tasks" in one]
    assert imported == ["see.yml", *checks, "stop.yml", "volumes.yml"]
    # what is seen under the Lease is what is recorded and replaced
    writes = [number for number, one in enumerate(tasks) if "stateful.galera.state" in one]
    assert tasks[0]["ansible.builtin.import_tasks"] == "see.yml"
    assert len(checks) < writes[0] < [one.get("ansible.builtin.import_tasks") for one in tasks].index("stop.yml")
    assert all(tasks[number]["stateful.galera.state"]["held"] for number in writes)


def test_nothing_is_recorded_without_the_lease() -> None:
    """What is left of a run that is refused would have every other one refuse."""
    for path in sorted((ROLE / "tasks").glob("*.yml")):
        left = yaml.safe_load(path.read_text())
        while left:
            task = left.pop()
            left += [*task.get("block", []), *task.get("rescue", []), *task.get("always", [])]
            assert task.get("stateful.galera.state", {"held": True}).get("held"), f"{path.name}: {task['name']}"


@pytest.mark.parametrize(
    ("recorded", "told", "code"),
    [
        ({"id": "a"}, "data.before-a can be brought back", 0),
        ({"id": "a", "undo": "begun"}, "", 0),
        # another restore by now, and an undo that another run has brought to its end
        ({"id": "b"}, "data.before-a can be brought back", 2),
        ({"undone": "a"}, "data.before-a can be brought back", 2),
    ],
)
def test_only_the_restore_is_undone_whose_old_data_were_found(
    tmp_path: Path, recorded: dict[str, Any], told: str, code: int
) -> None:
    (required,) = (each for each in guarded("undo_data.yml") if each["name"].startswith("Require the restore"))
    facts = {"__galera_restore_found": found(NEW, recorded), **said(*filter(None, [told]))}
    done = play(tmp_path, [{"ansible.builtin.set_fact": facts}, required])
    assert done.returncode == code, done.stdout + done.stderr
    assert ("Another run has restored cluster demo, or undone" in " ".join(done.stdout.split())) == (code == 2)


@pytest.mark.parametrize("file", ["in_place.yml", "undo_data.yml"])
def test_the_lease_is_given_back_where_a_task_fails(file: str) -> None:
    """It is of half an hour, and the run that goes on, in another container, is refused while the cluster is down."""
    *_, guarded = yaml.safe_load((ROLE / "tasks" / file).read_text())
    assert "stop.yml" in [each.get("ansible.builtin.import_tasks") for each in guarded["block"]]
    assert [each["stateful.galera.lease"]["state"] for each in guarded["always"]] == ["released"]
    assert "rescue" not in guarded


@pytest.mark.parametrize(("metadata", "code"), [({}, 0), ({"deletionTimestamp": "2026-11-21T14:30:00Z"}, 2), (None, 2)])
def test_nodes_are_not_stopped_for_restored_data_that_another_run_has_removed(
    tmp_path: Path, metadata: dict[str, str] | None, code: int
) -> None:
    tasks = yaml.safe_load((ROLE / "tasks" / "in_place.yml").read_text())[1]["block"]
    names = [each["name"] for each in tasks]
    (required,) = (each for each in tasks if each["name"] == "Require the restored data")
    assert names.index(required["name"]) < names.index("Stop the nodes, and let no other run start them")
    seen = found(OLD)
    if metadata is not None:
        name = "{{ __galera_seed_claim }}"
        seen["objects"]["PersistentVolumeClaim"].append({"metadata": {"name": name, **metadata}})
    done = play(tmp_path, [{"ansible.builtin.set_fact": {"__galera_restore_found": seen}}, required])
    assert done.returncode == code, done.stdout
    assert ("was not changed: run the same restore again" in " ".join(done.stdout.split())) == (code == 2)


@pytest.mark.parametrize(("expected", "code"), [(NEW, 0), (OLD, 2), ("", 0)])
def test_a_cluster_with_another_history_than_the_restored_one_is_not_told_to_the_store(
    tmp_path: Path, expected: str, code: int
) -> None:
    """Nothing is compared where the Job did not say what it has restored."""
    tasks = yaml.safe_load((ROLE / "tasks" / "go_on.yml").read_text())
    names = [each["name"] for each in tasks]
    (required,) = (each for each in tasks if each["name"] == "Require the history that was restored")
    assert names.index(required["name"]) < names.index("Go on with the backups")
    facts = {"__galera_restore_started": found(NEW), "__galera_restore_expected": expected}
    done = play(tmp_path, [{"ansible.builtin.set_fact": facts}, required])
    assert done.returncode == code, done.stdout
    assert (f"serves the history {NEW}, and what was restored is {OLD}" in " ".join(done.stdout.split())) == (code == 2)


def test_the_agents_look_at_once_at_targets_that_were_told_of_a_restore() -> None:
    """What they tried before is the last failure else, and a target that was away waits for a quarter of an hour."""
    tasks = yaml.safe_load((ROLE / "tasks" / "go_on.yml").read_text())
    names = [each["name"] for each in tasks]
    (look,) = (each for each in tasks if each.get("ansible.builtin.include_role", {}).get("tasks_from") == "ask")
    assert names.index("Go on with the backups") < names.index(look["name"]) < names.index("Show the status")
    assert look["when"] == "__galera_backup_enabled and not ansible_check_mode"


def test_each_setting_of_the_job_is_named_by_a_variable_of_the_inventory(tmp_path: Path) -> None:
    copy = {"dest": str(tmp_path / "names"), "content": "{{ __galera_restore_names | to_json }}", "mode": "0600"}
    done = play(tmp_path, [{"ansible.builtin.copy": copy}])
    assert done.returncode == 0, done.stdout
    names = json.loads((tmp_path / "names").read_text())
    assert names["SOURCE_BEFORE_GTID"] == "galera_restore_before_gtid"
    spec = yaml.safe_load((ROOT / "roles" / "galera" / "meta" / "argument_specs.yml").read_text())
    assert set(names.values()) <= set(spec["argument_specs"]["main"]["options"])


@pytest.mark.parametrize(
    ("recorded", "key", "code"),
    [
        ({"id": "a", "key": "x"}, "", 0),
        ({"begun": {"key": "this one", "said": "restored the newest"}}, "this one", 0),
        ({"begun": {"key": "this one", "said": "restored the newest"}}, "another", 2),
        ({"begun": {"key": "this one", "said": "restored the newest"}}, "", 2),
    ],
)
def test_a_restore_that_was_cut_off_is_gone_on_with_alone(
    tmp_path: Path, recorded: dict[str, Any], key: str, code: int
) -> None:
    (check,) = yaml.safe_load((ROLE / "tasks" / "begun.yml").read_text())
    given = {"__galera_restore_found": found(OLD, recorded), **({"__galera_restore_goes_on": key} if key else {})}
    done = play(tmp_path, [{**check, "vars": given}])
    assert done.returncode == code, done.stdout + done.stderr
    told = "The playbook restore was begun on cluster demo (restored the newest) and has not come to its end"
    assert (told in " ".join(done.stdout.split())) == (code == 2)


def test_a_restore_that_was_not_started_knows_what_it_has_replaced(see: Any) -> None:
    """Both ways out of it: it is run again, or undone."""
    moved, empty = "set 1 MiB aside as data.before-a", "there are no data to set aside"
    (old,) = see((found(OLD), said(empty, moved)))
    recorded = json.loads(old["recorded"])
    assert recorded == {
        "id": old["identity"],
        "key": old["key"],
        "said": "restored the backup",
        "before": found(OLD)["objects"]["ConfigMap"][0]["data"],
        "aside": True,
        "size": "",
    }
    again, new, unread, none = see(
        (found(recorded=recorded), said("the data were set aside already, as data.before-a")),
        (found(claims=3), said(empty, empty, empty)),
        (found(claims=1), said("")),
        (found(claims=0), said()),
    )
    assert (again["step"], again["undo_step"]) == ("new", "begin")
    assert json.loads(again["recorded"]) == recorded
    assert [json.loads(each["recorded"])["aside"] for each in (new, unread, none)] == [False, True, False]


A: dict[str, Any] = {"id": "a", "key": "x", "said": "restored the newest", "before": {"cluster": "{}"}}


@pytest.mark.parametrize(
    ("uuid", "recorded", "key", "code"),
    [
        ("", {**A, "aside": True}, "another", 2),
        # of what was recorded by another release, nothing is known
        ("", A, "another", 2),
        ("", {**A, "before": {}}, "another", 0),
        ("", {**A, "aside": True}, "x", 0),
        ("", {**A, "aside": True, "begun": {"key": "another", "said": ""}}, "another", 0),
        # nothing was replaced, so restore_undo could not go back
        ("", {**A, "aside": False}, "another", 0),
        (NEW, {**A, "aside": True}, "another", 0),
        ("", {"undone": "a", "said": ""}, "another", 0),
        ("", {**A, "aside": True}, "", 0),
    ],
)
def test_a_restore_does_not_come_in_the_place_of_one_that_was_not_started(
    tmp_path: Path, uuid: str, recorded: dict[str, Any], key: str, code: int
) -> None:
    """It would not know the old cluster, of which restore_release then deletes the data. That one, without a key, asks
    for a cluster that serves."""
    check = {"ansible.builtin.import_tasks": str(ROLE / "tasks" / "whole.yml")}
    given = {"__galera_restore_found": found(uuid, recorded), **({"__galera_restore_goes_on": key} if key else {})}
    done = play(tmp_path, [{**check, "vars": given}])
    assert done.returncode == code, done.stdout + done.stderr
    told = "The last restore of cluster demo (restored the newest) has set its data aside, and no cluster was started"
    assert (told in " ".join(done.stdout.split())) == (code == 2)
