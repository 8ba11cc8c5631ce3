# SPDX-License-Identifier: Apache-2.0
"""Scripts that fail: what the administrator reads, what is left, and the way out of it.

Where it can be, a script fails for a real reason; else it is replaced by one that says so.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ganeti.instances import Instance, is_empty
from tests.ganeti.nodes import Node
from tests.ganeti.providers import LINKS

GONE = "is not pool 'gold': its marker file"


@pytest.mark.parametrize("action", ["create", "attach", "open", "setinfo"])
def test_add(new: Instance, action: str) -> None:
    """add while create, attach, open or setinfo fails; what it names is removed by gnt-storage."""
    provider, node = new.provider, new.node
    with provider.failing(node, action):
        said = new.fails(new.command())
    assert f"{provider.name}: {action} failed on purpose" in said
    left = provider.volumes()
    assert len(left) == (0 if action == "create" else 1)
    assert provider.attached() == ({node.name: left} if action in ("open", "setinfo") else {})
    for volume in left:
        assert volume in said
        for way in ("detach", "remove"):
            node.run(provider.by_hand(way, volume))
    is_empty(provider)


def test_create_refuses(new: Instance) -> None:
    """add with an unknown parameter, with an unknown provider, with no room: nothing is left."""
    said = new.fails(new.command(disks=(",alocation=full",)))
    assert f"{new.provider.name}: create of volume" in said
    assert "there is no parameter 'alocation'; did you mean 'allocation'?" in said
    is_empty(new.provider)
    said = new.fails(new.command().replace(f"provider={new.provider.name}", "provider=nosuch"))
    assert "Directory for External Storage Provider nosuch not found" in said
    is_empty(new.provider)
    said = new.fails(new.command().replace("size=16", "size=900g"))
    assert "MiB are free; make room" in said
    is_empty(new.provider)


def test_create_is_killed(new: Instance) -> None:
    """add while create is killed half-way: a half-made volume is left; removed by gnt-storage."""
    provider, node = new.provider, new.node
    with provider.broken(node, create=f"EXTSTORAGE_CRASH_AT={provider.half_made} exec $real"):
        said = new.fails(new.command())
    assert "the call was ended by signal 9 before it was done; call it again" in said
    with pytest.raises(AssertionError):
        is_empty(provider)
    volume = said.split(f"{provider.name}: create of volume ")[1].split()[0]
    node.run(provider.by_hand("remove", volume))
    is_empty(provider)


def test_create_of_the_second_disk(new: Instance) -> None:
    """add whose second disk can't be created: the first one is removed by Ganeti."""
    said = new.fails(new.command(disks=("", ",alocation=full")))
    assert "there is no parameter 'alocation'" in said
    is_empty(new.provider)


def test_grow(web: Instance) -> None:
    """grow-disk while grow fails, and with no room: the size stays, and a second try works."""
    size = web.disks[0].size
    with web.provider.failing(web.node, "grow"):
        said = web.cluster.fails(f"gnt-instance grow-disk {web.name} 0 8m")
    assert f"{web.provider.name}: grow failed on purpose" in said
    web.runs()
    said = web.cluster.fails(f"gnt-instance grow-disk {web.name} 0 900g")
    assert "MiB are free; make room" in said
    web.runs()
    web.grow(0, size + 8)
    web.runs()


def test_grow_half_way(web: Instance) -> None:
    """grow-disk that fails after the volume has grown; cluster repair-disk-sizes."""
    with web.provider.broken(web.node, grow="$real; echo 'killed on purpose' >&2; exit 9"):
        said = web.cluster.fails(f"gnt-instance grow-disk {web.name} 0 8m")
    assert "killed on purpose" in said
    with pytest.raises(AssertionError):  # Ganeti does not know the size
        web.runs()
    web.cluster.gnt("gnt-cluster repair-disk-sizes")
    web.disks[0].size += 8
    web.runs()


def test_snapshot(web: Instance) -> None:
    """backup export while snapshot fails: the instance goes on."""
    with web.provider.failing(web.node, "snapshot"):
        said = web.cluster.fails(f"gnt-backup export --noshutdown -n {web.cluster.nodes[-1].name} {web.name}")
    assert "Not all disks could be snapshotted" in said
    web.runs()


def test_busy_device(web: Instance) -> None:
    """shutdown while a process has the disk open: a warning names it; deactivate-disks when it is gone."""
    pid = web.node.run(f"sleep infinity <{LINKS}/{web.volume()} >/dev/null 2>&1 & echo $!").stdout.strip()
    said = web.stop()
    assert "is still open on this node (sleep (process " in said
    web.is_attached("exclusive")
    web.node.run(f"kill {pid}")
    web.gnt("deactivate-disks")
    web.is_down()
    web.gnt("startup")


def test_start_of_what_another_holds(web: Instance) -> None:
    """startup of an instance whose volume another node holds open: refused, naming it, until it is let go."""
    web.stop()
    other = next(node for node in web.cluster.nodes if node is not web.node)
    hold(web, other)
    said = web.fails("startup")
    assert f"node {other.name} has the volume open (exclusive); if the instance does not run there" in said
    assert web.status() == [web.node.name, "ERROR_down"]
    web.holds({other.name: "exclusive"})
    web.release(other)
    web.gnt("startup")
    web.runs()


def test_remove_of_what_another_holds(new: Instance) -> None:
    """remove, with --ignore-failures too, of such an instance: refused eleven times; volume and data stay."""
    other, _, third = new.cluster.nodes
    lost = Instance(new.provider, "lost", third)  # Ganeti removes one instance of a node at a time
    for instance in (new, lost):
        instance.add("--no-install --no-start")
        instance.release(instance.node)
        hold(instance, other)
    left = lost.volume()
    with ThreadPoolExecutor() as pool:  # half a minute each
        kept = pool.submit(new.fails, "remove -f")
        forgotten = pool.submit(lost.gnt, "remove -f --ignore-failures")
    for said in (kept.result(), forgotten.result()):
        assert f"node {other.name} has the volume open (exclusive); stop the instance there" in said
    # Ganeti knows one of them still, and has forgotten the other.
    assert new.cluster.gnt("gnt-instance list --no-headers -o name").stdout.split() == ["new"]
    assert new.provider.volumes() == sorted([new.volume(), left])
    assert new.provider.attached() == {other.name: sorted([new.volume(), left])}
    for action in ("detach", "remove"):
        other.run(new.provider.by_hand(action, left))
    new.release(other)
    new.remove()


def hold(instance: Instance, node: Node) -> None:
    """Attach and open an instance's volume on another node, by its scripts."""
    node.run(instance.provider.script("attach", instance.volume()))
    node.run(instance.provider.script("open", instance.volume(), "VOL_OPEN_EXCLUSIVE=True"))


def test_storage_away(web: Instance) -> None:
    """info, shutdown, startup, add while the storage is away; all is well when it is back."""
    provider, node = web.provider, web.node
    provider.take_away()
    # The attached volume is answered for from the node's record: Ganeti can go on to detach it.
    web.gnt("info")
    assert "but the storage can't be told" in web.stop()
    assert GONE in web.fails("info")
    assert GONE in web.fails("startup")
    other = Instance(provider, "other", node)
    assert GONE in other.fails(other.command("--no-install"))
    provider.bring_back()
    web.gnt("startup")
    web.runs()


def test_remove_while_the_storage_is_away(new: Instance) -> None:
    """remove while the storage is away: refused by our hook, lest Ganeti forget the volume; done later."""
    new.add("--no-install --no-start")
    new.gnt("deactivate-disks")
    new.provider.take_away()
    said = new.fails("remove -f")
    assert "refused, since Ganeti would forget the disks of new" in said
    assert GONE in said
    new.provider.bring_back()
    new.is_down()
    new.remove()
