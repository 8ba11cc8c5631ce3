# SPDX-License-Identifier: Apache-2.0
"""Our package on nodes that have Ganeti's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ganeti.cluster import Cluster


def test_ganetis_own_command_stays_reachable(cluster: Cluster, package: Path) -> None:
    """gnt-storage: ours by its name, Ganeti's beside it and, when ours is gone, by its name again."""
    cluster.on_all(lambda node: node.install(package))
    # Ganeti names nodes by their UUIDs there.
    assert cluster.gnt("gnt-storage.ganeti diagnose").stdout.count("status: valid") == len(cluster.nodes)
    assert cluster.gnt("gnt-storage.ganeti info").stdout.startswith("file:\n")
    assert "gnt-storage, version" in cluster.gnt("gnt-storage --version").stdout
    cluster.on_all(lambda node: node.run("dpkg --purge ganeti-extstorage"))
    diagnosed = cluster.gnt("gnt-storage diagnose", check=False)
    assert (diagnosed.stdout, diagnosed.stderr) == ("", "Can't get the list of ExtStorage providers\n")
