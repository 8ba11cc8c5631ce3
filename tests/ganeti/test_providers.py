# SPDX-License-Identifier: Apache-2.0
"""Ganeti's commands on disks of our providers: what Ganeti says, what is in the volumes, what is left.

Each test's docstring names the commands; the table in ``docs/ganeti.rst`` is made from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ganeti.providers import FileProvider, Instance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ganeti.cluster import Cluster

PROVIDERS = [FileProvider]


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.name, scope="module")
def provider(request: pytest.FixtureRequest, cluster: Cluster, package: Path) -> Iterator[FileProvider]:
    """Each provider in turn, installed on all nodes."""
    provider = request.param(cluster)
    provider.install(package)
    yield provider
    provider.uninstall()


@pytest.fixture(autouse=True)
def one_at_a_time(provider: FileProvider, cluster: Cluster) -> Iterator[None]:
    """What a test that failed left does not fail the next one."""
    yield
    cluster.reset()
    provider.clear()


@pytest.fixture
def web(provider: FileProvider, cluster: Cluster) -> Iterator[Instance]:
    """An instance that runs on the first node, with data on its disk; removed without a trace."""
    instance = Instance(provider, "web", cluster.nodes[0])
    instance.add()
    instance.write()
    instance.runs()
    yield instance
    if cluster.gnt("gnt-instance list --no-headers -o name").stdout.split():
        instance.remove()


def test_add_without_start(provider: FileProvider, cluster: Cluster) -> None:
    """add --no-start, remove."""
    instance = Instance(provider, "idle", cluster.nodes[1])
    instance.add("--no-install --no-start")
    instance.is_only_here()
    instance.remove()


def test_stop_and_start(web: Instance) -> None:
    """shutdown, startup, reboot (soft, hard, full), activate-disks and deactivate-disks (twice each)."""
    web.gnt("shutdown --timeout=0")
    web.is_down()
    web.gnt("startup")
    web.runs()
    for kind in ("soft", "hard", "full"):
        web.gnt(f"reboot --type={kind} --shutdown-timeout=0", check=kind != "soft")
        web.runs()
    web.gnt("shutdown --timeout=0")
    for command in ("activate-disks", "activate-disks"):
        web.gnt(command)
        web.is_only_here()
    for command in ("deactivate-disks", "deactivate-disks"):
        web.gnt(command)
        web.is_down()


def test_looking(web: Instance) -> None:
    """info, cluster verify, verify-disks, repair-disk-sizes; running and stopped."""
    web.gnt("info")
    web.cluster.verify()
    web.cluster.gnt("gnt-cluster verify-disks")
    web.cluster.gnt("gnt-cluster repair-disk-sizes")
    web.runs()
    web.gnt("shutdown --timeout=0")
    web.gnt("info")
    web.cluster.verify()
    # Ganeti attaches to look, and detaches nothing.
    web.is_only_here()
    assert web.provider.holders(web.volume()) == {}


def test_grow(web: Instance) -> None:
    """grow-disk, running and stopped."""
    web.cluster.gnt(f"gnt-instance grow-disk {web.name} 0 8m")
    assert web.size() == 24
    web.runs()
    web.gnt("shutdown --timeout=0")
    web.cluster.gnt(f"gnt-instance grow-disk --absolute {web.name} 0 40m")
    web.is_down()
    web.gnt("startup")
    assert web.size() == 40
    web.runs()


def test_disks(web: Instance) -> None:
    """modify --disk add (running), detach, remove; a disk's name; two disks."""
    web.gnt(f"modify --disk add:{web.disk(8)},name=second")
    web.write(1)
    web.gnt("shutdown --timeout=0")
    web.is_down(2)
    volume = web.volume(1)
    web.gnt("modify --disk 1:detach")
    web.is_down(2)
    # Ganeti 3.0.2 can't attach a disk of an ext instance again: without a provider it misses one, with
    # one it says that only a name is allowed. The volume stays, and its script removes it.
    assert "Missing provider" in web.fails("modify --disk 1:attach,name=second")
    del web.marks[1]
    web.gnt("startup")
    assert web.status() == [web.node.name, "running"]
    assert web.read() == web.marks[0]
    web.node.run(web.provider.script("remove", volume))
    web.runs()
    web.gnt(f"modify --disk add:{web.disk(8)}")
    web.write(1)
    web.gnt("shutdown --timeout=0")
    web.is_down(2)
    web.gnt("modify --disk 1:remove")
    del web.marks[1]
    web.is_down(1)


def test_names_and_contents(web: Instance) -> None:
    """rename, reinstall, recreate-disks (refused), parameters changed after creation."""
    web.gnt("shutdown --timeout=0")
    web.cluster.gnt(f"gnt-instance rename --force --no-name-check --no-ip-check {web.name} app")
    web.name = "app"
    web.is_down()
    web.gnt("reinstall -f -o minimal+default")
    web.is_down()
    assert "exists already" in web.fails("recreate-disks")
    web.is_down()
    web.gnt("modify --disk 0:modify,pool=nonsense")
    web.gnt("startup")
    web.runs()


def test_backup(web: Instance, cluster: Cluster) -> None:
    """backup export (running, stopped), backup import."""
    target = cluster.nodes[2].name
    cluster.gnt(f"gnt-backup export --shutdown-timeout=0 -n {target} {web.name}")
    web.runs()
    assert web.provider.volumes() == [web.volume()]
    web.gnt("shutdown --timeout=0")
    cluster.gnt(f"gnt-backup export -n {target} {web.name}")
    web.is_down()
    web.remove()
    cluster.gnt(
        f"gnt-backup import --src-node={target} --src-dir=/var/lib/ganeti/export/{web.name} -t ext"
        f" --disk 0:{web.disk()} -n {cluster.nodes[1].name}"
        f" --no-nics --no-name-check --no-ip-check {web.name}"
    )
    web.node = cluster.nodes[1]
    web.gnt("startup")
    web.runs()


def test_conversion(provider: FileProvider, cluster: Cluster) -> None:
    """modify -t: sharedfile to ext, ext to ext of another provider, ext to sharedfile."""
    cluster.add_instance("web", "-t sharedfile --disk 0:size=16", cluster.nodes[0])
    web = Instance(provider, "web", cluster.nodes[0])
    web.gnt("shutdown --timeout=0")
    web.gnt(f"modify -t ext --ext-params provider={provider.name}")
    web.gnt("activate-disks")
    assert web.node.run(f"head -n 1 {web.device()}").stdout.startswith("minimal: disk 0 of web")
    web.write()
    web.gnt("deactivate-disks")
    web.gnt(f"modify -t ext --ext-params provider={provider.other}")
    assert provider.volumes() == []
    assert len(provider.volumes(provider.other)) == 1
    web.gnt("activate-disks")
    assert web.read() == web.marks[0]
    web.gnt("deactivate-disks")
    web.gnt("modify -t sharedfile")
    assert provider.volumes(provider.other) == []
    assert provider.devices() == 0


@pytest.mark.parametrize("hypervisor", ["fake", "kvm"])
def test_migration(provider: FileProvider, cluster: Cluster, hypervisor: str) -> None:
    """migrate (live, --non-live), there and back, under fake and under KVM; failover (running, stopped)."""
    one, two, three = cluster.nodes
    web = Instance(provider, "web", one, hypervisor)
    web.add()
    web.write()
    for node, option in ((two, ""), (one, ""), (three, "--non-live")):
        web.gnt(f"migrate -f -n {node.name} {option}")
        web.node = node
        web.runs()
        web.write()
    if hypervisor == "fake":
        web.gnt(f"failover -f --shutdown-timeout=0 -n {two.name}")
        web.node = two
        web.runs()
    web.gnt("shutdown --timeout=0")
    web.gnt(f"failover -f -n {one.name}")
    web.node = one
    web.is_down()
    web.gnt("startup")
    web.runs()
    web.gnt("shutdown --timeout=0")
    web.remove()


def test_node_evacuate(web: Instance, cluster: Cluster) -> None:
    """node evacuate."""
    cluster.gnt(f"gnt-node evacuate -f -p {web.node.name}")
    moved = web.status()[0]
    assert moved != web.node.name
    web.node = next(node for node in cluster.nodes if node.name == moved)
    web.runs()


def test_dead_node(web: Instance, cluster: Cluster) -> None:
    """failover from a node that is dead and marked offline; its return."""
    one = cluster.nodes[0]
    # The first node is the master: another one has to die.
    web.gnt(f"migrate -f -n {cluster.nodes[1].name}")
    web.node = cluster.nodes[1]
    web.runs()
    dead = web.node
    dead.crash()
    cluster.set_offline(dead)
    web.gnt("failover -f")
    web.node = next(node for node in cluster.nodes if node.name == web.status()[0])
    assert web.node is not dead
    assert web.provider.holders(web.volume()) == {web.node.name: "exclusive"}
    assert web.read() == web.marks[0]
    dead.restart()
    cluster.set_online(dead)
    web.runs()
    web.gnt(f"migrate -f -n {one.name}" if web.node is not one else f"migrate -f -n {dead.name}")
    web.node = next(node for node in cluster.nodes if node.name == web.status()[0])
    web.runs()


# --- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["create", "attach", "open", "setinfo"])
def test_failing_add(provider: FileProvider, cluster: Cluster, action: str) -> None:
    """add while create, attach, open or setinfo fails: our sentence; what is left is removed by hand."""
    node = cluster.nodes[1]
    provider.fail(node, action)
    web = Instance(provider, "web", node)
    said = web.fails(
        f"add -t ext --disk 0:{web.disk()} -o minimal+default -n {node.name} -H fake -B memory=64"
        " --no-nics --no-name-check --no-ip-check"
    )
    provider.mend(node)
    assert f"{provider.name}: {action} failed on purpose" in said
    left = provider.volumes()
    assert len(left) == (0 if action == "create" else 1)
    for volume in left:
        for script in ("detach", "remove"):
            node.run(provider.script(script, volume))
    assert provider.volumes() == []
    assert provider.devices() == 0


def test_failing_grow(web: Instance) -> None:
    """grow-disk while grow fails: the size stays, and a second try works."""
    web.provider.fail(web.node, "grow")
    done = web.cluster.gnt(f"gnt-instance grow-disk {web.name} 0 8m", check=False)
    web.provider.mend(web.node)
    assert done.returncode != 0
    assert "grow failed on purpose" in done.stdout + done.stderr
    assert web.size() == 16
    web.cluster.gnt(f"gnt-instance grow-disk {web.name} 0 8m")
    assert web.size() == 24
    web.runs()


def test_failing_snapshot(web: Instance, cluster: Cluster) -> None:
    """backup export while snapshot fails: the instance goes on."""
    web.provider.fail(web.node, "snapshot")
    done = cluster.gnt(f"gnt-backup export --noshutdown -n {cluster.nodes[2].name} {web.name}", check=False)
    web.provider.mend(web.node)
    assert done.returncode != 0
    web.runs()


def test_close_fails_on_the_source(web: Instance, cluster: Cluster) -> None:
    """migrate whose close fails on the source after the memory has moved: detach there, then --cleanup."""
    one, two, _ = cluster.nodes
    web.provider.fail(one, "close")
    web.fails(f"migrate -f -n {two.name}")
    web.provider.mend(one)
    # Ganeti says that it runs on the target; both nodes still hold it shared.
    assert web.status() == [two.name, "running"]
    assert web.provider.holders(web.volume()) == {one.name: "shared", two.name: "shared"}
    one.run(web.provider.script("detach", web.volume()))
    web.node = two
    web.gnt("migrate -f --cleanup")
    for node in cluster.nodes:
        if node is not two:  # the allocator picks a node for the cleanup, which then is attached
            node.run(web.provider.script("detach", web.volume()))
    web.runs()


def test_storage_away(web: Instance) -> None:
    """startup while the storage is away: fails; all is well when it is back."""
    web.gnt("shutdown --timeout=0")
    web.provider.take_away()
    try:
        said = web.fails("startup")
        assert "marker file" in said or "Disk consistency error" in said
    finally:
        web.provider.bring_back()
    web.gnt("startup")
    web.runs()


def test_remove_while_the_storage_is_away(web: Instance) -> None:
    """remove while the storage is away: Ganeti forgets the disk, the volume stays; removed by hand."""
    web.gnt("shutdown --timeout=0")
    volume = web.volume()
    web.provider.take_away()
    try:
        web.gnt("remove -f")
    finally:
        web.provider.bring_back()
    assert web.provider.volumes() == [volume]
    web.node.run(web.provider.script("remove", volume))
    assert web.provider.volumes() == []


def test_remove_while_another_node_holds(web: Instance, cluster: Cluster) -> None:
    """remove of a volume that another node holds open: refused, eleven times; done once it is let go."""
    two = cluster.nodes[1]
    volume = web.volume()
    web.gnt("shutdown --timeout=0")
    two.run(web.provider.script("attach", volume))
    two.run(web.provider.script("open", volume, "VOL_OPEN_EXCLUSIVE=True"))
    said = web.fails("remove -f")
    assert f"node {two.name} has the volume open" in said
    two.run(web.provider.script("detach", volume))
    web.remove()
