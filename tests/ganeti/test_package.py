# SPDX-License-Identifier: Apache-2.0
"""Our package on nodes that have Ganeti's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.ganeti.cluster import Cluster

PROVIDERS = sorted(path.name for path in (Path(__file__).resolve().parents[2] / "providers").iterdir())


def test_ganetis_own_command_stays_reachable(cluster: Cluster, package: Path) -> None:
    """gnt-storage: ours by its name, Ganeti's beside it and, when ours is gone, by its name again."""
    cluster.on_all(lambda node: node.install(package))
    diagnosed = cluster.gnt("gnt-storage.ganeti diagnose").stdout
    for provider in PROVIDERS:
        assert f"Provider: {provider}\n" in diagnosed
        assert f"{provider}:\n" in cluster.gnt("gnt-storage.ganeti info").stdout
    # Ganeti names nodes by their UUIDs there.
    assert diagnosed.count("status: valid") == len(PROVIDERS) * len(cluster.nodes)
    assert "gnt-storage, version" in cluster.gnt("gnt-storage --version").stdout
    cluster.on_all(lambda node: node.run("dpkg --purge ganeti-extstorage"))
    done = cluster.gnt("gnt-storage diagnose", check=False)
    assert (done.stdout, done.stderr) == ("", "Can't get the list of ExtStorage providers\n")
