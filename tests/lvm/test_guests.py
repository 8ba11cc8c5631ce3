# SPDX-License-Identifier: Apache-2.0
"""What is inside a guest's disk is never activated on the machine that exports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lvm.box import Box, Initiator
    from tests.lvm.client import Controller

CREATE = (
    "mdadm --quiet --create /dev/md/guest --run --force"
    " --level=1 --raid-devices=1 --metadata={metadata} /dev/{device}"
)


@pytest.fixture(autouse=True)
def no_arrays(box: Box, c1: Initiator) -> Iterator[None]:
    yield
    for machine in (box.machine, c1.machine):
        machine.run("mdadm --quiet --stop --scan", check=False)


def make_array(initiator: Initiator, device: str, metadata: str) -> None:
    """A guest makes a RAID array of its disk, which is complete with it."""
    initiator.machine.run(CREATE.format(metadata=metadata, device=device))
    initiator.machine.run("udevadm settle; mdadm --quiet --stop --scan; udevadm settle")


def arrays(box: Box) -> str:
    return box.sh("udevadm settle; grep ^md /proc/mdstat || true")


@pytest.mark.parametrize(("pool", "metadata"), [("thin", "1.2"), ("thick", "1.0")])
def test_raid_array(box: Box, controller: Controller, c1: Initiator, pool: str, metadata: str) -> None:
    """Neither once the target has closed it, nor in a snapshot or where a volume was, nor after a restart."""
    volume = box.create(pool=pool)
    disk = box.export(volume, c1, pool=pool)
    assert c1.login(disk) == 0
    make_array(c1, c1.device(disk), metadata)
    c1.logout()
    box.ask("terminate_connection", volume, {"initiator": c1.name}, node="c1", pool=pool)
    assert "ARRAY" in box.sh("mdadm --examine --brief /dev/vg0/v1")
    assert arrays(box) == ""

    snapshot = box.ask("create_snapshot", volume, "v2", True, pool=pool)
    assert "ARRAY" in box.sh("mdadm --examine --brief /dev/vg0/v2")
    assert arrays(box) == ""
    box.ask("delete_volume", snapshot, pool=pool)

    box.export(volume, c1, pool=pool)
    box.sh("sync")
    box.restart()
    controller.start()
    assert arrays(box) == ""
    box.restore()
    assert list(box.exported().values()) == [[c1.name]]

    box.ask("delete_volume", volume, pool=pool)
    box.create("v3", pool=pool)
    assert arrays(box) == ""
