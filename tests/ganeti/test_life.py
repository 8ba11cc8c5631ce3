# SPDX-License-Identifier: Apache-2.0
"""The life of an instance on our volumes: made, started and stopped, looked at, renamed, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.ganeti.cluster import Cluster
    from tests.ganeti.instances import Instance
    from tests.ganeti.providers import Provider


def test_diagnose(provider: Provider, cluster: Cluster) -> None:
    """gnt-storage diagnose, gnt-storage info (Ganeti's own)."""
    diagnosed = cluster.gnt("gnt-storage.ganeti diagnose").stdout
    for name in provider.names:
        section = diagnosed.split(f"Provider: {name}\n")[1].split("Provider: ")[0]
        assert "--> valid" in section
        assert section.count("valid (path:") == len(cluster.nodes)
    assert "pool: the pool for the disk" in cluster.gnt(f"gnt-storage.ganeti info {provider.name}").stdout


def test_stop_and_start(web: Instance) -> None:
    """shutdown, startup, reboot (soft, hard, full), activate-disks and deactivate-disks (twice each)."""
    web.stop()
    web.is_down()
    web.gnt("startup")
    web.runs()
    for kind in ("soft", "hard", "full"):
        # The fake hypervisor has no soft reboot.
        web.gnt(f"reboot --type={kind} --shutdown-timeout=0", check=kind != "soft")
        web.runs()
    web.stop()
    for command in ("activate-disks", "activate-disks"):
        web.gnt(command)
        web.is_attached("exclusive")
    for command in ("deactivate-disks", "deactivate-disks"):
        web.gnt(command)
        web.is_down()
    web.gnt("startup")


def test_looking(web: Instance) -> None:
    """info, cluster verify, verify-disks, repair-disk-sizes, watcher; running and stopped."""
    web.gnt("info")
    web.cluster.verify()
    web.cluster.gnt("gnt-cluster verify-disks")
    web.cluster.gnt("gnt-cluster repair-disk-sizes")
    web.cluster.gnt("ganeti-watcher --ignore-pause")
    web.runs()
    web.stop()
    web.gnt("info")
    # Ganeti attaches to look, and detaches nothing.
    web.is_attached()
    web.gnt("startup")


def test_names_and_contents(web: Instance) -> None:
    """rename, reinstall, recreate-disks (refused while the volume exists), parameters changed later."""
    web.stop()
    for name in ("app", "web"):
        web.cluster.gnt(f"gnt-instance rename --force --no-name-check --no-ip-check {web.name} {name}")
        web.name = name
        web.is_down()
    web.gnt("reinstall -f -o minimal+default")
    web.is_down()
    size = web.disks[0].size
    assert f"exists already with {size} MiB in pool 'gold' and was left alone" in web.fails("recreate-disks")
    web.is_down()
    web.gnt("modify --disk 0:modify,pool=nonsense")
    web.gnt("startup")
    web.runs()


def test_recreate(new: Instance) -> None:
    """recreate-disks once the volume is gone."""
    new.add("--no-install --no-start")
    new.release(new.node, "detach", "remove")
    new.gnt("recreate-disks")
    new.gnt("startup")
    new.runs()
    new.remove()


def test_add_without_start(new: Instance) -> None:
    """add --no-install --no-start; remove of what never ran."""
    new.add("--no-install --no-start")
    new.is_attached("exclusive")
    new.remove()


def test_wiping(new: Instance, cluster: Cluster) -> None:
    """add and grow-disk where the cluster wipes new disks (--prealloc-wipe-disks)."""
    cluster.gnt("gnt-cluster modify --prealloc-wipe-disks=yes")
    try:
        new.add()
        new.runs()
        new.write()
        new.grow(0, 32)
        new.runs()
    finally:
        cluster.gnt("gnt-cluster modify --prealloc-wipe-disks=no")
    new.remove()


def test_refused(web: Instance) -> None:
    """move, replace-disks: refused by Ganeti, which has them for other disk templates."""
    other = next(node for node in web.cluster.nodes if node is not web.node)
    assert "not suitable for copying" in web.fails(f"move -f -n {other.name}")
    assert "strange layout" in web.fails("replace-disks -a")
    web.runs()
