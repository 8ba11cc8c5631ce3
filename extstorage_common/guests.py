# SPDX-License-Identifier: Apache-2.0
"""Which of this node's disks are guests', for a udev rule of ours: the node must not use what is inside.

A file is made before the disk appears, with what is known of it then: the address of a SCSI disk
(``2:0:0:0``), the UUID of a map (``mpath-36001405...``), an image's id (``rbd-10ab...``), the name of a loop
device, device-mapper's name of a logical volume. A logical volume has a file of its own besides
(``backends/lvm_state.py``), by which it is known after the next start of the machine.
"""

from __future__ import annotations

import os

from extstorage_common import paths
from extstorage_common.records import unlink_if_there


def mark(name: str) -> None:
    """Tell udev that the disk that will appear is a guest's."""
    path = _path(name)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "wb"):
        pass


def unmark(name: str) -> None:
    """Tell udev that the disk is gone."""
    unlink_if_there(_path(name))


def unmark_all(prefix: str) -> None:
    """Tell udev that all disks whose names begin so are gone, or never came."""
    directory = _path("")
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        if name.startswith(prefix):
            unmark(name)


def _path(name: str) -> str:
    return os.path.join(paths.run_dir(), "guests", name)
