# SPDX-License-Identifier: Apache-2.0
"""The hooks of the suite under Ganeti: no volume is forgotten while its storage is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ganeti.cluster import Cluster

POOL = "/srv/shared/hooked"
ADD = "gnt-instance add -t ext --disk 0:size=16,provider=file -o minimal+default -H fake -B memory=64"
ADD += " --no-nics --no-name-check --no-ip-check --no-install --no-start"


@pytest.fixture
def stopped(cluster: Cluster, package: Path) -> Iterator[Cluster]:
    """An instance that is stopped, on the second node."""

    def install(node: Any) -> None:
        node.install(package)
        node.put("/etc/ganeti/extstorage/file.conf", f"[gold]\ndirectory = {POOL}\n")

    cluster.on_all(install)
    cluster.master.run("gnt-storage pool init file gold")
    cluster.gnt(f"{ADD} -n {cluster.nodes[1].name} web")
    cluster.gnt("gnt-instance deactivate-disks web")
    yield cluster
    cluster.reset()
    left = f"/etc/ganeti/extstorage /run/ganeti-extstorage {POOL}"
    cluster.on_all(lambda node: node.run(f"dpkg --purge ganeti-extstorage; rm -rf {left}"))


def volumes(cluster: Cluster) -> list[str]:
    return cluster.master.run(f"ls {POOL} {POOL}.away 2>/dev/null || true").stdout.split()


def test_nothing_is_forgotten_while_the_storage_is_away(stopped: Cluster) -> None:
    """remove and modify --disk 0:remove while the storage is away: refused; and afterwards."""
    (volume,) = [name for name in volumes(stopped) if name.endswith(".ext.disk0")]
    stopped.master.run(f"mv {POOL} {POOL}.away && mkdir {POOL}")
    for command in ("remove -f web", "modify --disk 0:remove web"):
        done = stopped.gnt(f"gnt-instance {command}", check=False)
        assert done.returncode == 1, command
        assert "refused, since Ganeti would forget the disks of web" in done.stderr
        assert "marker file" in done.stderr
    assert stopped.gnt("gnt-instance list --no-headers -o name").stdout == "web\n"
    stopped.master.run(f"rmdir {POOL} && mv {POOL}.away {POOL}")
    assert volume in volumes(stopped)
    stopped.gnt("gnt-instance modify -B memory=128 web")
    stopped.gnt("gnt-instance remove -f web")
    assert volume not in volumes(stopped)


def test_the_node_that_would_be_asked_is_asked(stopped: Cluster) -> None:
    """remove while the storage is away on the instance's node alone, or that node is marked offline."""
    node = stopped.nodes[1]
    node.run(f"mkdir /empty; mount --bind /empty {POOL}")
    done = stopped.gnt("gnt-instance remove -f web", check=False)
    node.run(f"umount {POOL}; rmdir /empty")
    assert done.returncode == 1
    assert f"{node.name}: " in done.stderr
    node.crash()
    stopped.set_offline(node)
    done = stopped.gnt("gnt-instance remove -f web", check=False)
    assert done.returncode == 1
    assert "fail it over first: gnt-instance failover web" in done.stderr
    # The way out.
    stopped.gnt(f"gnt-instance failover -f -n {stopped.nodes[2].name} web")
    stopped.gnt("gnt-instance remove -f web")
    assert [name for name in volumes(stopped) if ".ext." in name] == []
    node.restart()
    stopped.set_online(node)
