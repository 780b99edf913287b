# SPDX-License-Identifier: GPL-3.0-or-later
"""What the harness reads from the logs of a cluster."""

from __future__ import annotations

import pytest
from fault.cluster import Cluster
from fault.kube import Kubectl

SENT = "WSREP_SST: [INFO] mariabackup {} completed on donor (20261122 10:00:00.000)"
FULL = "WSREP_SST: [INFO] Moving the backup to /var/lib/mysql/data (20261122 10:00:01.000)"
INCREMENTAL = "WSREP_SST: [INFO] 'xtrabackup_ist' received from donor: Running IST (20261122 10:00:01.000)"


@pytest.mark.parametrize(
    ("logs", "sst", "ist"),
    [
        pytest.param(["", "", ""], 0, 0, id="none"),
        pytest.param([SENT.format("SST"), FULL, ""], 1, 0, id="both sides tell of one"),
        pytest.param(["", FULL, INCREMENTAL], 1, 1, id="the donors' pods have gone"),
        pytest.param([f"{SENT.format('IST')}\n{SENT.format('IST')}", INCREMENTAL, ""], 0, 2, id="a joiner's has"),
    ],
)
def test_a_state_transfer_is_seen_by_either_side(
    logs: list[str], sst: int, ist: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster("n", "space", Kubectl())
    monkeypatch.setattr(Cluster, "size", 3)
    monkeypatch.setattr(cluster, "logs", lambda pod, container, since: logs[int(pod[-1])])
    assert cluster.transfers("2026-11-22T10:00:00Z") == {"sst": sst, "ist": ist}
