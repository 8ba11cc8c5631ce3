# SPDX-License-Identifier: Apache-2.0
"""Whether a Ceph client is alive, and how it is cut off.

Every client that has an image open to write *watches* it; the cluster drops the watch of a client that has
not been heard of for 30 s. A client is cut off by its address, which is its own for each mapping and each
hypervisor's disk: the OSDs then refuse all that it says, and the image's lock can be taken from it.

A holder is known by the address of its mapping, and by its node's. What opens the image by itself (QEMU,
rbd-nbd) has an address of its own, which nobody could note, but which is one of the node's host. So a
fence cuts off the mapping's address, and every address of that host that watches this image or holds its
lock.
"""

from __future__ import annotations

import time
from datetime import datetime

from extstorage_common.backends.rbd_client import host_of
from extstorage_common.backends.rbd_errors import FenceImpossible, ImageInUse, ImageLocked
from extstorage_common.errors import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extstorage_common.backends.base import Holder, Volume
    from extstorage_common.backends.rbd import RbdBackend
    from extstorage_common.backends.rbd_state import State

BLOCKLIST_SECONDS = 24 * 3600
"""How long a client stays cut off: one that heard nothing of it must not write when it comes back."""
WATCH_SECONDS = 33.0
"""After osd_client_watch_timeout (30 s), with time for a client to come back to an OSD that was restarted."""
ENDING_SECONDS = 10.0
"""A client that has the image open for one operation has ended within this time."""
START_SECONDS = 60.0
"""A hypervisor that was to open the image itself, and has not within this time, is believed dead."""
ANSWER_MILLISECONDS = 2000
AUTOMATIC = "internal"
"""How a lock is tagged that librbd and the kernel take and pass on by themselves."""
NONE = "-"


def address(client: str, host: str) -> str:
    """What is noted of a holder."""
    return f"{client}@{host}"


def parts(text: str) -> tuple[str, str]:
    """The mapping's address and the node's, each ``-`` if unknown."""
    client, _, host = text.partition("@")
    return client, host or NONE


def is_alive(backend: RbdBackend, volume: Volume, holder: Holder) -> bool:
    """Whether the holder still watches the image; if it is silent, waits for the cluster to judge."""
    client, host = parts(holder.address)
    image = backend.open_image(volume.name)
    if image is None:
        return False
    with image:
        of_holder = _Suspects(backend, client, host)
        if not of_holder.watching(image):
            # A hypervisor that opens the image itself does so only after this opening.
            return client == NONE and _seconds_since(holder) < START_SECONDS
        if _all_answer(backend, image):
            return bool(of_holder.watching(image))
        for _ in backend.deadline.attempts(WATCH_SECONDS):
            if not of_holder.watching(image):
                return False
    return True


def _seconds_since(holder: Holder) -> float:
    try:
        return time.time() - datetime.fromisoformat(holder.since).timestamp()
    except ValueError:
        return 0.0


def _all_answer(backend: RbdBackend, image: Any) -> bool:
    """Whether all watchers of the image answer at once when told that it may have changed (it has not).

    One that is dropped meanwhile need not answer, so look again afterwards who watches.
    """
    rados = backend.client.rados
    try:
        return bool(backend.client.ioctx.notify(f"rbd_header.{image.id()}", "", ANSWER_MILLISECONDS))
    except (rados.TimedOut, rados.ObjectNotFound):
        return False


def cut_off(backend: RbdBackend, volume: Volume, client: str, host: str) -> None:
    """Blocklist this client; returns when the cluster has dropped it. Raises FenceImpossible, TimedOut."""
    image = backend.open_image(volume.name)
    if image is None:
        return
    with image:
        suspects = _Suspects(backend, client, host)
        if client == NONE and suspects.host == NONE and (clients := _watching(backend, image)):
            raise FenceImpossible(host=host, clients=", ".join(sorted(clients)))
        targets = {client} - {NONE} | suspects.watching(image) | suspects.locking(image)
        for target in sorted(targets):
            with backend.client.answers(f"blocklisting {target}"):
                backend.client.cluster.blocklist_add(target, BLOCKLIST_SECONDS)
        for _ in backend.deadline.attempts():
            if not targets & _watching(backend, image):
                return
    raise TimedOut(seconds=backend.deadline.seconds, doing=f"cutting off {', '.join(sorted(targets))}")


class _Suspects:
    """The addresses that may be one holder's."""

    def __init__(self, backend: RbdBackend, client: str, host: str) -> None:
        self.backend = backend
        self.client = client
        # Where nodes share one address, only the mapping's own tells them apart.
        self.host = NONE if host == backend.client.own_host() else host

    def watching(self, image: Any) -> set[str]:
        """Those that watch the image."""
        return {one for one in _watching(self.backend, image) if self._is_one(one)}

    def locking(self, image: Any) -> set[str]:
        """Those that have its lock."""
        with self.backend.client.answers("asking who has the image's lock"):
            lockers = image.list_lockers()
        return {one for _, _, one in (lockers["lockers"] if lockers else ()) if self._is_one(one)}

    def _is_one(self, address: str) -> bool:
        return address == self.client or host_of(address) == self.host


def _watching(backend: RbdBackend, image: Any) -> set[str]:
    with backend.client.answers("asking who watches the image"):
        return {watcher["addr"] for watcher in image.watchers_list()}


def cut_off_attachments(backend: RbdBackend, volume: Volume, state: State) -> None:
    """Cut off the other nodes that are attached; none of them has the volume open."""
    for attached in state.attached:
        if attached.node != backend.node:
            cut_off(backend, volume, attached.address, attached.host)


def refuse_clients(backend: RbdBackend, volume: Volume, image: Any) -> None:
    """Raise ImageInUse if the image has clients that are no attachments, and keeps them.

    Ceph would move the image to the trash while they have it open. Silent clients are waited for, and for
    a moment also those that answer: the purge of a clone, on any node, opens the image that the clone was
    made from.
    """
    if not _watching(backend, image):
        return
    for _ in backend.deadline.attempts(ENDING_SECONDS if _all_answer(backend, image) else WATCH_SECONDS):
        clients = _watching(backend, image)
        if not clients:
            return
    raise ImageInUse(clients=", ".join(sorted(clients)), image=backend.spec(volume.name))


def refuse_locks(backend: RbdBackend, volume: Volume, image: Any) -> None:
    """Raise ImageLocked if somebody locked the image (``rbd lock add``): Ceph would wait without end."""
    with backend.client.answers("asking who has the image's lock"):
        found = image.list_lockers()
    if found and found["tag"] != AUTOMATIC:
        client, lock, _ = found["lockers"][0]
        raise ImageLocked(lock=lock, client=client, image=backend.spec(volume.name))
