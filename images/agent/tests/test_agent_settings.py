# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment: what is right, and that each wrong value is named with what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from galera_agent.__main__ import main, purge_volume
from galera_agent.settings import SettingsError, from_env

GOOD = {
    "POD_NAME": "shop-galera-2",
    "POD_NAMESPACE": "db",
    "POD_IP": "10.1.2.3",
    "GALERA_CLUSTER_NAME": "shop",
    "GALERA_ROLE": "node",
    "GALERA_NODE_SERVICE": "shop-galera-nodes",
    "GALERA_HTTP_PORT": "9200",
    "GALERA_CNF": "/etc/mysql/conf.d/galera.cnf",
    "GALERA_DATADIR": "/var/lib/mysql/data",
    "GALERA_RUNDIR": "/run/mysqld",
    "GALERA_SECRETS": "/etc/galera/secret",
    "GALERA_MYSQL_DATABASE": "",
    "GALERA_MYSQL_USER": "",
}


def test_good_settings() -> None:
    settings = from_env(GOOD)
    assert (settings.http_port, settings.datadir) == (9200, Path("/var/lib/mysql/data"))
    assert settings.address(settings.node_pod(1)) == "shop-galera-1.shop-galera-nodes.db.svc"
    assert (settings.seed_pod, settings.state_map, settings.lease) == (
        "shop-galera-seed-0",
        "shop-galera-state",
        "shop-galera-bootstrap",
    )


def test_a_seed() -> None:
    assert from_env({**GOOD, "GALERA_ROLE": "seed", "POD_NAME": "shop-galera-seed-0"}).pod == "shop-galera-seed-0"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("POD_NAME", "Shop_1", "a pod name"),
        ("POD_NAME", "shop-galera-seed-0", "shop-galera-<number>"),
        ("POD_NAME", "other-galera-0", "shop-galera-<number>"),
        ("POD_NAME", "shop-galera-01", "shop-galera-<number>"),
        ("POD_NAMESPACE", "a.b", "a DNS label"),
        ("POD_IP", "10.1.2", "an IP address"),
        ("POD_IP", "", "an IP address"),
        ("GALERA_CLUSTER_NAME", "-shop", "a DNS label"),
        ("GALERA_CLUSTER_NAME", "x" * 64, "at most 63"),
        ("GALERA_ROLE", "arbiter", "node, seed"),
        ("GALERA_HTTP_PORT", "65536", "from 1 to 65535"),
        ("GALERA_DATADIR", "data", "an absolute path"),
        ("GALERA_MYSQL_DATABASE", "x" * 65, "64 printable"),
        ("GALERA_MYSQL_DATABASE", "a\nb", "printable"),
        ("GALERA_MYSQL_USER", "a\0b", "printable"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as error:
        from_env({**GOOD, name: value})
    assert f"{name} is '{value}'" in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(SettingsError) as error:
        from_env({key: value for key, value in GOOD.items() if key != name})
    assert str(error.value).startswith(f"{name} is not set; allowed: ")


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        from_env({})
    assert len(str(error.value).splitlines()) == len(GOOD)


def test_run_without_an_environment_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    assert main(["run"]) == 2
    assert "POD_NAME is not set" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["dance"], ["run", "now"]])
def test_an_unknown_command_is_an_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "galera_agent: error:" in capsys.readouterr().err


def test_purge_tells_what_it_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    assert main(["purge", str(tmp_path)]) == 0
    assert "data" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("names", "told"), [(["data", "old"], "data, old"), ([], "nothing")])
def test_purge_tells_the_pod_what_it_deleted(names: list[str], told: str, tmp_path: Path) -> None:
    """The playbook reads it to tell whether the run changed anything."""
    volume, message = tmp_path / "volume", tmp_path / "termination-log"
    volume.mkdir()
    message.touch()
    for name in names:
        (volume / name).mkdir()
    assert purge_volume(volume, message) == 0
    assert message.read_text() == told


def test_purge_of_nothing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
