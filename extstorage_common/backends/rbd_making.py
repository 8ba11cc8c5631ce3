# SPDX-License-Identifier: Apache-2.0
"""Making an image that is a volume, wholly or not at all.

First the volume's name gets a maker (``rbd_state.py``), then the image is made, then its metadata are set
so that it is a volume, then the maker is removed. Whoever finds a dead maker has to clean up after it.
"""

from __future__ import annotations

import time

from extstorage_common import makers, paths, records
from extstorage_common.backends import rbd_clones, rbd_fence, rbd_headers, rbd_purge, rbd_state
from extstorage_common.backends.rbd_errors import ForeignImage, ForeignImageExists
from extstorage_common.backends.rbd_images import KEY, TITLE, ImageVolume, is_of, record_of
from extstorage_common.backends.rbd_options import FEATURES
from extstorage_common.crash import crash_point
from extstorage_common.errors import (
    Busy,
    Exists,
    ExtStorageError,
    TimedOut,
    Unreachable,
    VolumeExists,
    VolumeIncomplete,
    VolumeNotFound,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from extstorage_common.backends.rbd import RbdBackend
    from extstorage_common.records import Record


def make_volume(
    backend: RbdBackend,
    name: str,
    size: int,
    lines: Sequence[tuple[str, str]],
    make: Callable[[Any, Any], None],
    clone_of: str,
) -> ImageVolume:
    """Make an image of ``size`` bytes, then say in its metadata that it is a volume.

    ``lines`` are for the volume's record, besides those that every volume has. A call that fails leaves
    nothing.
    """
    dead = _begin(backend, name, clone_of)
    crash_point("rbd.making-begun")
    try:
        if dead is not None:
            _discard(backend, name, dead)
        _refuse_image(backend, name)
        _make(backend, name, make)
        crash_point("rbd.making")
        found = _finish(backend, name, size, lines)
    except (Exists, Busy):
        rbd_state.end_making(backend.client, name)
        raise
    except Exception as error:
        _undo(backend, name, error)
        raise
    crash_point("rbd.made")
    rbd_state.end_making(backend.client, name)
    return found


def _make(backend: RbdBackend, name: str, make: Callable[[Any, Any], None]) -> None:
    client = backend.client
    for again in (True, False):
        try:
            with client.answers(f"making image {name}"):
                make(client.rbd.RBD(), client.ioctx)
            return
        except client.rbd.ImageExists:
            # A removal that was killed may have left the name in the pool's directory.
            listed = rbd_headers.listed_id(client, name) if again else None
            if listed is None or not rbd_purge.finish_move(client, listed):
                raise ForeignImageExists(image=backend.spec(name)) from None


def _undo(backend: RbdBackend, name: str, error: Exception) -> None:
    """Leave nothing. What can't be removed now keeps its maker, and the next create or remove finishes it."""
    if isinstance(error, (Unreachable, TimedOut)):
        return
    try:
        _remove_image(backend, name)
        rbd_state.end_making(backend.client, name)
    except ExtStorageError:
        pass


def _begin(backend: RbdBackend, name: str, clone_of: str) -> Record | None:
    """Become the volume's maker; returns the one that did not finish, if any, and cuts it off.

    A dead maker may keep, for half a minute, the lock of the image that it was cloning.
    """
    more = (("client", backend.client.cluster.get_addrs()), ("clone_of", clone_of))
    mark = makers.this_process(backend.node, backend.deadline, *more)
    dead = rbd_state.begin_making(backend.client, name, mark)
    if dead is not None and dead.get("client"):
        with backend.client.answers(f"blocklisting {dead.get('client')}"):
            backend.client.cluster.blocklist_add(dead.get("client"), rbd_fence.BLOCKLIST_SECONDS)
    return dead


def _finish(backend: RbdBackend, name: str, size: int, lines: Sequence[tuple[str, str]]) -> ImageVolume:
    said = [
        ("name", name),
        ("cluster", paths.cluster_name()),
        ("node", backend.node),
        ("created", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())),
        *lines,
    ]
    record = records.Record(TITLE, said)
    image = rbd_headers.image_id(backend.client, name)
    if image is None:
        raise VolumeNotFound(where=f"pool '{backend.pool.name}': it was removed while it was made")
    features = sum(FEATURES[word] for word in record.get("features").split(","))
    text = record.dump().decode("utf-8", "backslashreplace")
    if features & FEATURES["journaling"]:
        _write_by_journal(backend, name, text)
    else:
        rbd_headers.write_metadata(backend.client, image, KEY, text)
    return ImageVolume(name, size, image, features, record)


def _write_by_journal(backend: RbdBackend, name: str, text: str) -> None:
    """Write it through the image's journal, so that a mirror gets it, too."""
    image = backend.open_image(name, read_only=False)
    with image, backend.client.answers(f"writing the metadata of image {name}"):
        image.metadata_set(KEY, text)


def _refuse_image(backend: RbdBackend, name: str) -> None:
    """Raise what is there under this name. The caller is the maker, so it was there before."""
    try:
        found = backend.find(name)
    except (ForeignImage, VolumeIncomplete):
        raise ForeignImageExists(image=backend.spec(name)) from None
    if found is not None:
        raise VolumeExists(size=found.size_mib, where=backend.pool.name)


def _discard(backend: RbdBackend, name: str, dead: Record | None) -> None:
    """Remove what a dead maker left. Raises ForeignImageExists if the image is not from then."""
    image = backend.open_image(name)
    if image is not None:
        with image, backend.client.answers(f"looking at image {name}"):
            complete = record_of(image, name) is not None
            leftover = dead is not None and is_of(image, dead)
        if complete:
            return
        if not leftover:
            raise ForeignImageExists(image=backend.spec(name))
    # Also what librbd itself left half-made has to go; it is not found by opening it.
    _remove_image(backend, name)
    if dead is not None and dead.get("clone_of"):
        rbd_clones.discard_snapshot(backend, dead.get("clone_of"), name)


def _remove_image(backend: RbdBackend, name: str) -> None:
    with backend.client.answers(f"removing what is left of image {name}"):
        try:
            backend.client.rbd.RBD().remove(backend.client.ioctx, name)
        except backend.client.rbd.ImageNotFound:
            pass


def discard_incomplete(backend: RbdBackend, name: str) -> None:
    """Remove what a dead maker left of a volume. Raises BeingMade, ForeignImageExists."""
    _discard(backend, name, _begin(backend, name, ""))
    rbd_state.end_making(backend.client, name)
