# SPDX-License-Identifier: Apache-2.0
"""What is inside a guest's disk is never activated on the node that maps it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.calls import RUN_DIR

if TYPE_CHECKING:
    from tests.krbd.conftest import KrbdNode, KrbdSite

UDEV = Path(__file__).resolve().parents[2] / "gnt_storage/install/system/udev"
RULES = "/etc/udev/rules.d/59-ganeti-extstorage.rules"
GUEST = (
    "vgcreate -qq guests {0} && lvcreate -qq -y -Wn -Zn -n root -l 100%FREE guests && vgchange -qq -an guests"
)


@pytest.fixture
def ruled(n1: KrbdNode) -> Iterator[KrbdNode]:
    """A node with our rule."""
    n1.machine.put(RULES, UDEV.read_text())
    n1.sh("udevadm control --reload")
    yield n1
    n1.sh(f"rm -f {RULES}; udevadm control --reload")


@pytest.mark.parametrize("connector", ["rbd", "rbd_nbd"])
def test_volume_group(site: KrbdSite, ruled: KrbdNode, connector: str) -> None:
    """A guest's volume group stays as it is, since udev does not look into the disk.

    (Debian 12 activates none on such disks without the rule either; newer releases look into krbd's, too.)
    """
    node = ruled
    site.set(node, connector=connector)
    node.create("v1")
    node.sh(GUEST.format(node.attach("v1")))
    node.ok("detach", "v1")
    device = node.attach("v1")
    for event in ("add", "change"):
        node.sh(f"udevadm trigger --action={event} --settle $(readlink -f {device})")
        told = node.sh(f"udevadm info --query=property $(readlink -f {device})")
        assert "UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG=1" in told
        assert "ID_FS_TYPE" not in told
        assert "guests-root" not in node.sh("dmsetup ls")
    node.ok("detach", "v1")
    assert node.sh(f"ls {RUN_DIR}/guests 2>/dev/null || true") == ""
    node.ok("remove", "v1")
