# SPDX-License-Identifier: Apache-2.0
"""The checks can fail: each kind of cell of the matrix is seen red, with something broken on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ganeti.instances import Disk, is_empty
from tests.ganeti.providers import LINKS, RUN

if TYPE_CHECKING:
    from tests.ganeti.instances import Instance

RED = pytest.raises(AssertionError)


# --- a provider that does not do what it says -------------------------------------------------------


def test_open_without_holding(web: Instance) -> None:
    web.stop()
    with web.provider.broken(web.node, open="exit 0"):
        web.gnt("startup")
    with pytest.raises(AssertionError, match="exclusive"):
        web.runs()
    web.gnt("activate-disks")


def test_close_that_holds_on(web: Instance) -> None:
    target = next(node for node in web.cluster.nodes if node is not web.node)
    with web.provider.broken(web.node, close="exit 0"):
        said = web.fails(f"migrate -f -n {target.name}")
    assert f"node {web.node.name} has the volume open (shared)" in said
    source, web.node = web.node, target
    with pytest.raises(AssertionError, match="shared"):
        web.runs()
    web.release(source)
    web.gnt("activate-disks")


def test_detach_that_leaves_the_device(web: Instance) -> None:
    with web.provider.broken(web.node, detach="exit 0"):
        web.stop()
    with pytest.raises(AssertionError, match=web.node.name):
        web.is_down()
    web.gnt("startup")


def test_attach_of_another_volume(new: Instance) -> None:
    new.add(disks=("", ""))
    one, two = new.volumes()
    swapped = f"case $VOL_NAME in {one}) echo {LINKS}/{two} ;; *) echo {LINKS}/{one} ;; esac"
    with new.provider.broken(new.node, attach=swapped):
        new.gnt("reboot --type=hard")
    with pytest.raises(AssertionError, match="loop"):
        new.runs()
    new.gnt("reboot --type=hard")
    new.runs()
    # By its contents alone: each is looked at under the other's name.
    first, second = f"{LINKS}/{one}", f"{LINKS}/{two}"
    new.contents([one, two], [first, second])
    with pytest.raises(AssertionError, match="minimal: disk"):
        new.contents([two, one], [second, first])
    new.disks[1].first = new.disks[0].first
    new.write(0)
    with RED:
        new.contents([two, one], [second, first])
    new.remove()


def test_grow_of_nothing(web: Instance) -> None:
    size = web.disks[0].size
    with web.provider.broken(web.node, grow="exit 0"):
        web.grow(0, size + 8)
    with RED:
        web.runs()
    web.cluster.gnt("gnt-cluster repair-disk-sizes")
    web.disks[0].size = size


def test_remove_of_nothing(new: Instance) -> None:
    new.add("--no-install --no-start")
    volume = new.volume()
    with new.provider.broken(new.node, remove="exit 0"), pytest.raises(AssertionError, match=volume):
        new.remove()
    new.node.run(new.provider.script("remove", volume))


@pytest.mark.parametrize("left", ["whole", "half"])
def test_create_that_fails_and_leaves_a_volume(new: Instance, left: str) -> None:
    crash = f"EXTSTORAGE_CRASH_AT={new.provider.half_made} " if left == "half" else ""
    with new.provider.broken(new.node, create=f"{crash}$real; exit 9"):
        new.fails(new.command())
    with pytest.raises(AssertionError, match="ext"):
        is_empty(new.provider)
    new.provider.empty_pools()


def test_other_data(web: Instance) -> None:
    # As a snapshot of the wrong volume, or a copy that misses something, would have.
    web.provider.overwrite(web.volume(), "x")
    with RED:
        web.runs()
    web.write()
    # What nobody has written must be zeros.
    web.provider.overwrite(web.volume(), "x")
    data, web.disks[0].data = web.disks[0].data, b"x" * 10
    with RED:
        web.runs()
    web.disks[0].data = data
    web.write()


# --- Ganeti itself ----------------------------------------------------------------------------------


def test_status(web: Instance) -> None:
    web.stop()
    with pytest.raises(AssertionError, match="running"):
        web.runs()
    web.gnt("startup")
    with pytest.raises(AssertionError, match="ADMIN_down"):
        web.is_down()
    node, web.node = web.node, next(node for node in web.cluster.nodes if node is not web.node)
    with pytest.raises(AssertionError, match=node.name):
        web.runs()
    web.node = node
    web.disks.append(Disk())
    with RED:
        web.runs()
    del web.disks[1]


# --- what is left over ------------------------------------------------------------------------------


def test_left_on_a_node(web: Instance) -> None:
    record, link = f"{RUN}/attachments/{web.volume()}", f"{LINKS}/{web.volume()}"
    lock = f"{RUN}/locks/left"
    for breaking, mending, said in (
        (f"ln -s /dev/nothing {LINKS}/stale", f"rm {LINKS}/stale", "link without device: stale"),
        (f"cp {record} {record}2", f"rm {record}2", "records"),
        (f"mv {link} {RUN}/link", f"mv {RUN}/link {link}", "records"),
        (f"sed -i s/attached$/detaching/ {record}", f"sed -i s/detaching$/attached/ {record}", "unfinished"),
        (HOLD_LOCK.format(lock), "kill $(cat /tmp/holder); rm /tmp/holder", "held lock left"),
    ):
        web.node.run(breaking)
        with pytest.raises(AssertionError, match=said):
            web.runs()
        web.node.run(mending)
        web.runs()
    with web.provider.stray_device(web.node, web.volume()), pytest.raises(AssertionError, match="devices"):
        web.runs()


HOLD_LOCK = """
flock {0} sh -c 'echo $$ >/tmp/holder; exec sleep infinity' >/dev/null 2>&1 &
until [ -s /tmp/holder ]; do sleep 0.01; done
"""


def test_left_elsewhere(web: Instance) -> None:
    other = next(node for node in web.cluster.nodes if node is not web.node)
    other.run(web.provider.script("attach", web.volume()))
    with pytest.raises(AssertionError, match=other.name):
        web.runs()
    web.release(other)
    other.run(web.provider.script("create", "orphan", "VOL_SIZE=1"))
    with pytest.raises(AssertionError, match="orphan"):
        web.runs()
    other.run(web.provider.script("remove", "orphan"))
