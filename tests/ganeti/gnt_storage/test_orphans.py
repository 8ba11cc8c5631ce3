# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage orphans`` in the cluster: what Ganeti really forgot is found, and nothing else is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ganeti.cluster import Cluster

POOL = "/srv/shared/orphaned"
SCRIPTS = "/usr/share/ganeti/extstorage/file"
ADD = "gnt-instance add -t ext --disk 0:size=16,provider=file -o minimal+default -H fake -B memory=64"
ADD += " --no-nics --no-name-check --no-ip-check --no-install --no-start"


@pytest.fixture(scope="module")
def installed(cluster: Cluster, package: Path) -> Iterator[Cluster]:
    """The package on all nodes, with one pool; without the hooks, as before there were any."""

    def install(node: Any) -> None:
        node.install(package)
        node.run("rm -r /etc/ganeti/hooks")
        node.put("/etc/ganeti/extstorage/file.conf", f"[gold]\ndirectory = {POOL}\n")

    cluster.on_all(install)
    cluster.master.run("gnt-storage pool init file gold")
    yield cluster
    left = f"/etc/ganeti/extstorage /run/ganeti-extstorage {POOL}"
    cluster.on_all(lambda node: node.run(f"dpkg --purge ganeti-extstorage; rm -rf {left}"))


@pytest.fixture
def web(installed: Cluster) -> Iterator[str]:
    """The volume of an instance that is stopped, on the second node."""
    installed.gnt(f"{ADD} -n {installed.nodes[1].name} web")
    installed.gnt("gnt-instance deactivate-disks web")
    volume = installed.master.run(f"ls {POOL} | grep ext.disk0").stdout.strip()
    yield volume
    installed.reset()
    installed.master.run(f"rm -rf {POOL}/[0-9a-z]* {POOL}/.making-*")


def orphans(cluster: Cluster, options: str = "", status: int = 0) -> list[dict[str, Any]]:
    done = cluster.gnt(f"gnt-storage orphans --json {options}", check=False)
    assert done.returncode == status, done.stdout + done.stderr
    document = json.loads(done.stdout)
    found: list[dict[str, Any]] = document["orphans"]
    return found


def call(action: str, volume: str, variables: str = "") -> str:
    return f"VOL_NAME={volume} {variables} {SCRIPTS}/{action}"


def test_what_ganeti_forgot(installed: Cluster, web: str) -> None:
    """gnt-instance remove while the storage is away, then orphans and its removal."""
    assert orphans(installed) == []
    node = installed.nodes[1]
    node.run(f"mkdir /empty; mount --bind /empty {POOL}")
    # A silent pool is no proof of anything.
    installed.master.run(f"mkdir -p /empty; mount --bind /empty {POOL}")
    assert orphans(installed, status=8) == []
    installed.master.run(f"umount {POOL}; rmdir /empty")
    assert installed.gnt("gnt-instance remove -f web", check=False).returncode == 0
    node.run(f"umount {POOL}; rmdir /empty")
    (orphan,) = orphans(installed)
    assert (orphan["kind"], orphan["name"], orphan["removable"]) == ("volume", web, True)
    assert orphan["reason"] == "Ganeti does not know it"
    assert orphans(installed, f"--remove {web} --dry-run --yes") == [orphan]
    assert web in installed.master.run(f"ls {POOL}").stdout
    shown = installed.gnt(f"gnt-storage orphans --remove {web} --yes").stdout
    assert shown.endswith("removed\n")
    assert web not in installed.master.run(f"ls {POOL}").stdout
    assert orphans(installed) == []


def test_nothing_that_is_needed_is_removed(installed: Cluster, web: str) -> None:
    """orphans --remove of a known volume, of an attached and of another cluster's."""
    node = installed.nodes[2]
    refused = installed.gnt(f"gnt-storage orphans --remove {web} --yes", check=False)
    assert (refused.returncode, "it is no orphan" in refused.stderr) == (9, True)
    node.run(call("create", "stray", "VOL_SIZE=16") + " && " + call("attach", "stray"))
    found = {one["kind"]: one for one in orphans(installed)}
    assert set(found) == {"volume", "attachment"}
    assert f"attached on {node.name}" in found["volume"]["reason"]
    assert (found["attachment"]["node"], found["volume"]["removable"]) == (node.name, False)
    refused = installed.gnt("gnt-storage orphans --remove stray --yes", check=False)
    assert (refused.returncode, f"attached on {node.name}" in refused.stderr) == (9, True)
    node.run(call("detach", "stray"))
    node.run(f"sed -i 's/^cluster .*/cluster other.example.com/' {POOL}/stray/record")
    assert orphans(installed) == []
    # A snapshot of a known disk is a backup's.
    node.run(
        f"VOL_NAME={web} VOL_SNAPSHOT_NAME={web}.snap VOL_SNAPSHOT_SIZE=16 VOL_SIZE=16 {SCRIPTS}/snapshot"
    )
    assert orphans(installed) == []


def test_what_is_half_made_missing_or_held_by_nobody(installed: Cluster, web: str) -> None:
    node = installed.nodes[0]
    node.run(call("create", "half", "VOL_SIZE=16 EXTSTORAGE_CRASH_AT=file.making"), check=False)
    (half,) = orphans(installed)
    assert (half["kind"], half["name"], half["removable"]) == ("half-made volume", "half", True)
    installed.gnt("gnt-storage orphans --remove half --yes")
    node.run(call("attach", web) + "; " + call("open", web, "VOL_OPEN_EXCLUSIVE=True"))
    node.run(f"sed -i 's/{node.name}/node9.example.test/' {POOL}/{web}/holders-*")
    kinds = {one["kind"]: one for one in orphans(installed)}
    assert "gnt-storage node forget node9.example.test" in kinds["holder"]["reason"]
    # Its instance is on another node.
    assert f"its instance web is on {installed.nodes[1].name}" in kinds["attachment"]["reason"]
    installed.gnt("gnt-storage node forget --yes node9.example.test")
    node.run(call("detach", web))
    assert orphans(installed) == []
    node.run(f"mv {POOL}/{web} /away")
    (missing,) = orphans(installed)
    assert (missing["kind"], missing["name"]) == ("disk without a volume", web)
    assert "disk 0 of web has no volume" in missing["reason"]
    node.run(f"mv /away {POOL}/{web}")
    assert orphans(installed) == []


def test_only_where_ganeti_can_be_asked(installed: Cluster) -> None:
    data = "/var/lib/ganeti/config.data"
    script = f"mv {data} /; gnt-storage orphans; status=$?; mv /config.data {data}; exit $status"
    done = installed.nodes[1].run(script, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "run it on the cluster's master" in done.stderr
