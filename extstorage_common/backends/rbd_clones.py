# SPDX-License-Identifier: Apache-2.0
"""Clones: volumes that begin with another image's data, and what they mean for that image's removal.

A clone needs a snapshot of its parent. That snapshot is made for it and removed at once: Ceph (clone format
2) keeps it in the parent's own trash until the last clone has gone, and then drops it by itself. So nothing
has to be protected, and nothing is left to be tidied up when a clone is removed.
"""

from __future__ import annotations

from extstorage_common.backends.rbd_errors import HasClones, OriginMissing, OriginTooLarge
from extstorage_common.backends.rbd_state import PREFIX
from extstorage_common.crash import crash_point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extstorage_common.backends.base import Volume
    from extstorage_common.backends.rbd import RbdBackend

USER = 0
"""The kind of a snapshot that somebody made (RBD_SNAP_NAMESPACE_TYPE_USER)."""


def make_from(backend: RbdBackend, origin: str, name: str, size: int, options: dict[str, Any]) -> None:
    """Make image ``name``, of ``size`` bytes, as a clone of ``image`` or ``image@snapshot``.

    Raises OriginMissing, OriginTooLarge.
    """
    parent, _, snapshot = origin.partition("@")
    image = backend.open_image(parent, read_only=bool(snapshot))
    if image is None:
        raise OriginMissing(origin=origin)
    with image:
        with backend.client.answers(f"looking at {origin}"):
            try:
                image.set_snap(snapshot or None)
            except backend.client.rbd.ImageNotFound:
                raise OriginMissing(origin=origin) from None
            origin_size = image.size()
            image.set_snap(None)
        if origin_size > size:
            raise OriginTooLarge(origin=origin, origin_size=-(-origin_size >> 20), size=size >> 20)
        if snapshot:
            _clone(backend, parent, snapshot, name, options)
        else:
            _clone_now(backend, image, parent, name, options)
    if origin_size < size:
        clone = backend.open_image(name, read_only=False)
        with clone, backend.client.answers(f"growing image {name}"):
            clone.resize(size)


def _clone_now(backend: RbdBackend, image: Any, parent: str, name: str, options: dict[str, Any]) -> None:
    snapshot = PREFIX + name
    try:
        with backend.client.answers(f"making a snapshot of {parent}"):
            image.create_snap(snapshot)
        crash_point("rbd.snapshot")
        _clone(backend, parent, snapshot, name, options)
        crash_point("rbd.cloned")
    finally:
        _remove_snapshot(backend, image, snapshot)


def _clone(backend: RbdBackend, parent: str, snapshot: str, name: str, options: dict[str, Any]) -> None:
    ioctx = backend.client.ioctx
    with backend.client.answers(f"cloning {parent}@{snapshot}"):
        try:
            backend.client.rbd.RBD().clone(ioctx, parent, snapshot, ioctx, name, **options)
        except backend.client.rbd.ImageNotFound:
            backend.client.write_probe()  # which is also what Ceph says where the pool is full
            raise OriginMissing(origin=f"{parent}@{snapshot}") from None


def _remove_snapshot(backend: RbdBackend, image: Any, snapshot: str) -> None:
    with backend.client.answers(f"removing snapshot {snapshot}"):
        try:
            image.remove_snap(snapshot)
        except backend.client.rbd.ImageNotFound:
            pass


def discard_snapshot(backend: RbdBackend, parent: str, name: str) -> None:
    """Remove the snapshot that a killed call left on ``parent`` when it cloned it to ``name``."""
    image = backend.open_image(parent, read_only=False)
    if image is not None:
        with image:
            _remove_snapshot(backend, image, PREFIX + name)


def refuse_clones(backend: RbdBackend, volume: Volume, image: Any) -> None:
    """Raise HasClones if there are clones, or snapshots that somebody made.

    Clones are flattened where the configuration says so. Clones that are in the trash do not count.
    """
    with backend.client.answers(f"looking for clones of {volume.name}"):
        snapshots = list(image.list_snaps())
        if not snapshots:
            return
        clones = [child for child in image.list_children2() if not child["trash"]]
    made = [one["name"] for one in snapshots if one["namespace"] == USER]
    ours = [name for name in made if name.startswith(PREFIX)]
    if clones and backend.pool["remove_origin"] == "flatten":
        for clone in clones:
            _flatten(backend, clone)
        clones = []
    in_the_way = [_spec(clone) for clone in clones]
    in_the_way += [f"{volume.name}@{name}" for name in made if name not in ours]
    if in_the_way:
        raise HasClones(clones=", ".join(sorted(in_the_way)))
    for name in ours:
        discard_snapshot(backend, volume.name, name.removeprefix(PREFIX))


def _flatten(backend: RbdBackend, clone: dict[str, Any]) -> None:
    ioctx = backend.client.open_pool(clone["pool"])
    ioctx.set_namespace(clone["pool_namespace"])
    with backend.client.answers(f"flattening {_spec(clone)}"):
        try:
            image = backend.client.rbd.Image(ioctx, clone["image"])
        except backend.client.rbd.ImageNotFound:
            return
        with image:
            image.flatten()


def _spec(clone: dict[str, Any]) -> str:
    return "/".join(filter(None, (clone["pool"], clone["pool_namespace"], clone["image"])))
