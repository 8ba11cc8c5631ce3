# SPDX-License-Identifier: Apache-2.0
"""Purging what was moved to Ceph's trash, outside the call that did so.

Deleting an image takes the longer the more data it has. So ``remove`` leaves a process behind, which has
nothing of the call's (no descriptor, nothing of Ganeti's environment). It purges that image, then every
other volume in the trash whose time has come: those that an earlier one could not purge, since it was
killed or a clone was still there. ``gnt-storage pool purge`` does the same.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC

from extstorage_common.backends import rbd_headers, rbd_state
from extstorage_common.backends.rbd_client import Client
from extstorage_common.backends.rbd_images import record_of
from extstorage_common.deadline import Deadline
from extstorage_common.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.config import Pool

SECONDS = 24 * 3600.0
"""How long the process may work: an image without a map of its objects takes a minute a TiB."""
BUSY_SECONDS = 60.0
"""For how long a client that is gone may still count as watching an image."""

_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from {name} import main; main(*sys.argv[2:])"


def leave_behind(pool: Pool, image: str) -> None:
    """Start the process that purges the image with this id."""
    library = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = [sys.executable or "/usr/bin/python3", "-IS", "-c", _PROGRAM.format(name=__name__)]
    environment = {name: value for name, value in os.environ.items() if name.startswith("EXTSTORAGE_")}
    environment.pop("EXTSTORAGE_CRASH_AT", None)
    nothing = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    os.posix_spawn(
        command[0],
        [*command, library, pool.provider, pool.name, image],
        {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        file_actions=nothing,
        setsid=True,
    )


def main(name: str, pool: str, image: str) -> None:
    """The process: purge this image of a provider's pool, then what else is due."""
    from extstorage_common import provider  # which is above the backends, as this process is

    status = 1
    try:
        client = Client(provider.load(name, "rbd").pool(pool), Deadline(SECONDS))
        for _ in Deadline(BUSY_SECONDS).attempts():
            if _purge_image(client, image) != "busy":
                break
        purge(client)
        status = 0
    finally:
        # However it ends: Python must not clear up while threads of Ceph's library are at work.
        os._exit(status)


def purge(client: Client) -> list[str]:
    """Purge every volume in the trash whose time has come; returns the names of those that are gone.

    What Ceph refuses to purge is raised in the end.
    """
    gone: list[str] = []
    while True:
        names = []
        refused: Refused | None = None
        for image in rbd_headers.trashed(client):
            try:
                name = _due(client, image)
                if name and _purge_image(client, image) == "gone":
                    names.append(name)
            except Refused as error:
                refused = error  # that one; the others do not have to wait for it
        gone += names
        # The last clone of an image may have been among them.
        if not names:
            if refused is not None:
                raise refused
            return sorted(gone)


def _due(client: Client, image: str) -> str:
    """The name of an image in the trash whose time has come, else nothing."""
    try:
        with client.answers(f"looking for image {image} in the trash"):
            entry = client.rbd.RBD().trash_get(client.ioctx, image)
    except client.rbd.ImageNotFound:
        return ""
    until: float = entry["deferment_end_time"].replace(tzinfo=UTC).timestamp()
    is_due = entry["source"] == "USER" and until <= time.time()
    return str(entry["name"]) if is_due else ""


def _purge_image(client: Client, image: str) -> str:
    """Purge an image that was a volume: ``gone``, ``busy``, or ``left`` since it is no business of ours."""
    rbd = client.rbd
    try:
        if not finish_move(client, image):
            return "left"
        with client.answers(f"purging image {image}"):
            rbd.RBD().trash_remove(client.ioctx, image)
    except rbd.ImageBusy:
        return "busy"
    except (rbd.ImageHasSnapshots, rbd.ImageNotFound, rbd.PermissionError):
        return "left"
    rbd_state.forget(client, image)
    return "gone"


def finish_move(client: Client, image: str) -> bool:
    """Let an image in the trash be there wholly, whatever a killed call left; False if it was no volume.

    Or if it still is one: its name is the first thing that it loses.
    """
    try:
        with client.answers(f"looking for image {image} in the trash"):
            name = client.rbd.RBD().trash_get(client.ioctx, image)["name"]
            if rbd_headers.image_id(client, name) == image or not _was_volume(client, image, name):
                return False
    except client.rbd.ImageNotFound:
        return False
    rbd_headers.finish_move(client, image, name)
    return True


def _was_volume(client: Client, image: str, name: str) -> bool:
    try:
        with client.rbd.Image(client.ioctx, image_id=image, read_only=True) as opened:
            return record_of(opened, name) is not None
    except client.rbd.ImageNotFound:
        return True  # a purge was killed when there was nothing left to do but to take it out of the trash
