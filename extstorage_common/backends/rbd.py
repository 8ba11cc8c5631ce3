# SPDX-License-Identifier: Apache-2.0
"""Volumes as images of a Ceph pool.

====================================  ==================================================================
image ``<VOL_NAME>``                  the data
its metadata ``ganeti-extstorage``    what it was made with; written once, as the last step of making it
object ``...state.<image id>``        attachments, holders, Ganeti's text (``rbd_state.py``)
object ``...making``                  the volumes that are half-made, and their makers
====================================  ==================================================================

An image with that metadata is a complete volume; one without is half-made if it has a maker, else a
stranger's. To delete a volume is to move its image to Ceph's trash, in one step; what is in the trash is
purged by a process that the call leaves behind (``rbd_purge.py``). A snapshot is a clone of the image.
"""

from __future__ import annotations

import fnmatch

from extstorage_common import makers, paths
from extstorage_common.backends import (
    rbd_clones,
    rbd_fence,
    rbd_headers,
    rbd_making,
    rbd_purge,
    rbd_state,
)
from extstorage_common.backends.base import Backend, Capabilities, Holder, Holders, Volume
from extstorage_common.backends.rbd_client import Client, host_of
from extstorage_common.backends.rbd_errors import (
    FeaturesUnfit,
    ForeignImage,
    ImageBusy,
    NamespaceMissing,
    OriginForbidden,
)
from extstorage_common.backends.rbd_images import KEY, ImageVolume, is_of, parse
from extstorage_common.backends.rbd_options import FEATURES, OPTIONS
from extstorage_common.backends.rbd_state import Attached, State
from extstorage_common.crash import crash_point
from extstorage_common.errors import BadParameter, NoSpace, TimedOut, VolumeIncomplete, VolumeNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from extstorage_common.backends.base import Check, Connection
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

DAY = 24 * 3600


class RbdBackend(Backend):
    """Images in a Ceph pool."""

    NAME = "rbd"
    CONNECTOR = "rbd"
    OPTIONS = OPTIONS
    CAPABILITIES = Capabilities(
        fences=True,
        liveness=True,
        clones="without copying",
        userspace=True,
        shared_open="yes",
    )

    def __init__(self, pool: Pool, node: str, deadline: Deadline) -> None:
        super().__init__(pool, node, deadline)
        self.client = Client(pool, deadline)

    @classmethod
    def is_bulk(cls, action: str, pool: Pool) -> bool:
        """A removal may have to copy all that the volume's clones share with it."""
        return action == "remove" and bool(pool["remove_origin"] == "flatten")

    @classmethod
    def connectors_of(cls, pool: Pool) -> tuple[str, ...]:
        return ("userspace",) if pool["userspace_only"] else (pool["connector"],)

    def connector_of(self, volume: Volume) -> str:
        connector: str = self.pool["connector"]
        return "userspace" if self.image(volume).record.get("access") == "userspace" else connector

    # --- the pool ---------------------------------------------------------------------------------

    def initialize_pool(self) -> str:
        """Ceph's pools are made by Ceph's own commands; the namespace is made here."""
        if self.pool["namespace"] and not self._has_namespace():
            with self.client.answers(f"making namespace {self.pool['namespace']}"):
                self.client.rbd.RBD().namespace_create(
                    self.client.open_pool(self.pool["rbd_pool"]), self.pool["namespace"]
                )
        return self.pool_uuid()

    def prepare_pool(self) -> None:
        self.pool_uuid()

    def pool_uuid(self) -> str:
        """Ceph's identity of the cluster, the pool's number, the namespace."""
        found = self.client.pool_id()
        if self.pool["namespace"] and not self._has_namespace():
            raise NamespaceMissing(
                rbd_pool=self.pool["rbd_pool"],
                namespace=self.pool["namespace"],
                pool=self.pool.name,
                provider=self.pool.provider,
            )
        return found

    def _has_namespace(self) -> bool:
        pool = self.client.open_pool(self.pool["rbd_pool"])
        with self.client.answers("looking for the namespace"):
            return bool(self.client.rbd.RBD().namespace_exists(pool, self.pool["namespace"]))

    def capacity(self) -> tuple[int, int]:
        """Bytes in all and free for the data; a cluster without a manager has no figures."""
        name = self.pool["data_pool"] or self.pool["rbd_pool"]
        pools = self.client.monitor("df")["pools"]
        figures = next((pool["stats"] for pool in pools if pool["name"] == name), None)
        if figures is None:
            return 0, 0
        return figures["stored"] + figures["max_avail"], figures["max_avail"]

    def checks(self) -> Sequence[Check]:
        from extstorage_common.backends import rbd_checks

        return rbd_checks.checks(self)

    # --- volumes ----------------------------------------------------------------------------------

    def get_volume(self, name: str) -> ImageVolume:
        found = self.find(name)
        if found is not None:
            return found
        maker = rbd_state.maker(self.client, name)
        # Asked only now that there is no image: in a wrong cluster or namespace there would be none, either.
        self.pool_uuid()
        if maker is not None:
            raise VolumeIncomplete(pool=self.pool.name, maker=makers.text(maker))
        raise VolumeNotFound(where=f"pool '{self.pool.name}'")

    def find(self, name: str) -> ImageVolume | None:
        """The volume; None where there is no image. Raises ForeignImage, VolumeIncomplete."""
        header = rbd_headers.read(self.client, name, KEY)
        if header is None:
            return None
        record = None if header.text is None else parse(header.text, name)
        if record is None:
            raise self._no_volume(name)
        return ImageVolume(name, header.size, header.image, header.features, record)

    def _no_volume(self, name: str) -> ForeignImage | VolumeIncomplete:
        """What an image without our metadata is: a stranger's, or half-made."""
        maker = rbd_state.maker(self.client, name)
        image = self.open_image(name) if maker is not None else None
        if maker is None or image is None:
            return ForeignImage(pool=self.pool.name)
        with image, self.client.answers(f"looking at image {name}"):
            if not is_of(image, maker):
                return ForeignImage(pool=self.pool.name)
        return VolumeIncomplete(pool=self.pool.name, maker=makers.text(maker))

    def image(self, volume: Volume) -> ImageVolume:
        """The volume with what its image says; one that came from another node has its name only."""
        return volume if isinstance(volume, ImageVolume) else self.get_volume(volume.name)

    def open_image(self, name: str, *, read_only: bool = True) -> Any:
        """An image (rbd.Image), None if there is none. Opened for reading only, it gets no watcher."""
        ioctx = self.client.ioctx
        with self.client.answers(f"opening image {name}"):
            try:
                return self.client.rbd.Image(ioctx, name, read_only=read_only)
            except self.client.rbd.ImageNotFound:
                return None

    def spec(self, name: str) -> str:
        """The image, as Ceph's commands take it."""
        return "/".join(filter(None, (self.pool["rbd_pool"], self.pool["namespace"], name)))

    def list_volumes(self) -> list[str]:
        self.pool_uuid()
        with self.client.answers("listing the images"):
            images = self.client.rbd.RBD().list(self.client.ioctx)
        return sorted({*images, *rbd_state.half_made(self.client)})

    def create_volume(self, name: str, size_mib: int) -> Volume:
        origin = self.pool["origin"]
        self._check_choice(origin)
        size = size_mib << 20
        self._check_space(size)

        def make(rbd: Any, ioctx: Any) -> None:
            if origin:
                rbd_clones.make_from(self, origin, name, size, self.image_options())
            else:
                rbd.create(ioctx, name, size, old_format=False, **self.image_options())

        access = "userspace" if self.pool["userspace_only"] else "kernelspace"
        lines = [("features", ",".join(self.pool["image_features"])), ("access", access)]
        lines += [("copy_of", origin)] if origin else []
        return rbd_making.make_volume(
            self, name, size, lines, make, clone_of=(origin or "").partition("@")[0]
        )

    def _check_choice(self, origin: str | None) -> None:
        """What an option's own kind can't check, since it needs another option."""
        if origin is not None:
            image = origin.partition("@")[0]
            if not any(fnmatch.fnmatchcase(image, pattern) for pattern in self.pool["origins"] or ()):
                raise OriginForbidden(origin=origin)
        for one, other in (("stripe_unit", "stripe_count"), ("stripe_count", "stripe_unit")):
            if self.pool[one] is not None and self.pool[other] is None:
                raise BadParameter(parameter=other, value="", expects=f"given, too, where {one} is")
        if "journaling" in self.pool["image_features"] and self.connectors_of(self.pool) == ("rbd",):
            raise BadParameter(
                parameter="image_features",
                value="journaling",
                expects="left out: no kernel can map such an image",
            )

    def image_options(self) -> dict[str, Any]:
        """How a new image is made."""
        features = sum(FEATURES[word] for word in self.pool["image_features"])
        options: dict[str, Any] = {"features": features}
        options |= {key: self.pool[key] for key in ("stripe_unit", "stripe_count") if self.pool[key]}
        if self.pool["data_pool"]:
            options["data_pool"] = self.pool["data_pool"]
        return options

    def discard_incomplete(self, name: str) -> None:
        rbd_making.discard_incomplete(self, name)

    def extend_volume(self, volume: Volume, new_size_mib: int) -> Volume:
        size = new_size_mib << 20
        self._check_space(size - volume.size)
        image = self.open_image(volume.name, read_only=False)
        if image is None:
            raise VolumeNotFound(where=f"pool '{self.pool.name}'")
        with image, self.client.answers(f"growing image {volume.name}"):
            if image.size() < size:
                image.resize(size)
        return ImageVolume(
            volume.name,
            size,
            self.image(volume).image,
            self.image(volume).features,
            self.image(volume).record,
        )

    def delete_volume(self, volume: Volume) -> None:
        image = self.image(volume).image
        opened = self.open_image(volume.name)
        if opened is not None:
            with opened:
                rbd_clones.refuse_clones(self, volume, opened)
                rbd_fence.cut_off_attachments(self, volume, rbd_state.read(self.client, image))
                crash_point("rbd.cut-off")
                rbd_fence.refuse_clients(self, volume, opened)
                rbd_fence.refuse_locks(self, volume, opened)
        rbd_state.forget_maker(self.client, volume.name, self.node)
        with self.client.answers(f"moving image {volume.name} to the trash"):
            try:
                days = self.pool["trash_days"]
                self.client.rbd.RBD().trash_move(self.client.ioctx, volume.name, days * DAY)
            except self.client.rbd.ImageNotFound:
                pass
            except self.client.rbd.ImageBusy:
                raise ImageBusy(image=self.spec(volume.name)) from None
        crash_point("rbd.in-trash")
        rbd_state.forget(self.client, image)
        rbd_purge.leave_behind(self.pool, image)

    def purge_pool(self) -> list[str]:
        return rbd_purge.purge(self.client)

    def create_snapshot(self, volume: Volume, name: str, is_quiet: Callable[[], None]) -> Volume:
        record = self.image(volume).record
        features = sum(FEATURES[word] for word in record.get("features").split(","))

        def make(rbd: Any, ioctx: Any) -> None:
            options = {**self.image_options(), "features": features}
            rbd_clones.make_from(self, volume.name, name, volume.size, options)

        # As in the image that it is made from, whatever the configuration says by now.
        lines = [*((key, record.get(key)) for key in ("features", "access")), ("origin", volume.name)]
        return rbd_making.make_volume(self, name, volume.size, lines, make, clone_of=volume.name)

    def origin(self, volume: Volume) -> str:
        return self.image(volume).record.get("origin")

    def set_metadata(self, volume: Volume, text: str) -> None:
        rbd_state.set_metadata(self.client, self.image(volume).image, text)

    def describe(self, volume: Volume) -> dict[str, str]:
        told = {key: value for key, value in self.image(volume).record.lines if key != "name"}
        if text := rbd_state.metadata(self.client, self.image(volume).image):
            told["metadata"] = text
        told["image"] = self.spec(volume.name)
        told["id"] = self.image(volume).image
        told["attached"] = " ".join(self.attached_nodes(volume))
        if used := self._used(volume):
            told["used"] = str(used)
        return told

    def _used(self, volume: Volume) -> int:
        """Bytes of the objects that hold data, where Ceph keeps a map of them; 0 if it would have to look."""
        if not self.image(volume).features & FEATURES["fast-diff"]:
            return 0
        used = 0

        def count(start: int, length: int, exists: bool) -> None:
            nonlocal used
            used += length if exists else 0

        image = self.open_image(volume.name)
        if image is None:
            return 0
        with image, self.client.answers(f"measuring image {volume.name}"):
            image.diff_iterate(0, image.size(), None, count, include_parent=False, whole_object=True)
        return used

    def _check_space(self, needed: int) -> None:
        if self.pool["overcommit"]:
            return
        total, free = self.capacity()
        if total and needed > free:
            advice = "make room, or allow it with overcommit = yes"
            raise NoSpace(needed=-(-needed >> 20), free=free >> 20, advice=advice)

    # --- exports ----------------------------------------------------------------------------------

    def initialize_connection(self, volume: Volume, connector: Mapping[str, str]) -> Connection:
        self._check_features(volume, connector)
        self._change_attached(volume, self.node, self._attached_now(connector))
        data = {
            "cluster": self.client.cluster.get_fsid(),
            "pool": self.pool["rbd_pool"],
            "namespace": self.pool["namespace"] or "",
            "image": volume.name,
            "image_id": self.image(volume).image,
            "size": volume.size,
            "user": self.pool["cephx_id"],
            "conf": self.pool["conf"],
            "keyring": self.pool["keyring"],
            "ms_mode": self.pool["ms_mode"],
        }
        kind = self.connector_of(volume)
        if kind == "rbd":
            data["monitors"] = self._monitors()
        return {"driver_volume_type": kind, "data": data}

    def _check_features(self, volume: Volume, connector: Mapping[str, str]) -> None:
        missing = self.image(volume).features & ~int(connector.get("features") or "-1", 16)
        if missing:
            names = " ".join(name for name, bit in FEATURES.items() if bit & missing) or hex(missing)
            raise FeaturesUnfit(features=names, image=self.spec(volume.name))

    def _monitors(self) -> list[str]:
        """The monitors' addresses that suit the mode; those of the old protocol, where there is no other."""
        kind = "v1" if self.pool["ms_mode"] == "legacy" else "v2"
        monitors = self.client.monitor("mon dump")["mons"]
        vectors = [monitor["public_addrs"]["addrvec"] for monitor in monitors]
        return [one["addr"] for vector in vectors for one in vector if one["type"] == kind]

    def _attached_now(self, connector: Mapping[str, str]) -> Callable[[Attached | None], Attached]:
        new = Attached(self.node, self._host(connector), connector.get("client", rbd_fence.NONE))

        def change(old: Attached | None) -> Attached:
            return old if old is not None and old.host == new.host and new.address == rbd_fence.NONE else new

        return change

    def note_connected(self, volume: Volume, connector: Mapping[str, str]) -> None:
        if "client" in connector:
            self._change_attached(volume, self.node, self._attached_now(connector))

    def terminate_connection(self, volume: Volume, connector: Mapping[str, str]) -> None:
        self._change_attached(volume, self.node, lambda old: None)

    def revoke_connection(self, volume: Volume, node: str) -> None:
        attached = rbd_state.read(self.client, self.image(volume).image).of(node)
        if attached is not None:
            rbd_fence.cut_off(self, volume, attached.address, attached.host)
        self._change_attached(volume, node, lambda old: None)

    def attached_nodes(self, volume: Volume) -> list[str]:
        state = rbd_state.read(self.client, self.image(volume).image)
        return sorted(one.node for one in state.attached)

    def _change_attached(
        self, volume: Volume, node: str, change: Callable[[Attached | None], Attached | None]
    ) -> None:
        image = self.image(volume).image
        for _ in self.deadline.attempts():
            old = rbd_state.read(self.client, image)
            new = change(old.of(node))
            if new is old.of(node):
                return
            others = [one for one in old.attached if one.node != node]
            attached = [*others, new] if new is not None else others
            if rbd_state.replace(self.client, image, old, State(None, attached, old.holders)):
                return
        raise TimedOut(seconds=self.deadline.seconds, doing="noting the attachment")

    def userspace_uris(self, volume: Volume) -> list[str]:
        """QEMU's ``rbd:`` protocol: a backslash before what would end a part, a comma doubled."""
        words = [
            "rbd",
            "/".join(_escaped(part) for part in self.spec(volume.name).split("/")),
            "id=" + _escaped(self.pool["cephx_id"]),
            "conf=" + _escaped(self.pool["conf"]),
            "keyring=" + _escaped(self.pool["keyring"]),
        ]
        return ["kvm:" + ":".join(words).replace(",", ",,")]

    # --- holders ----------------------------------------------------------------------------------

    def read_holders(self, volume: Volume) -> Holders:
        state = rbd_state.read(self.client, self.image(volume).image)
        return Holders(state.dump(), state.holders)

    def replace_holders(self, volume: Volume, old: Holders, new: Sequence[Holder]) -> bool:
        state = State.load(str(old.version))
        changed = State(None, state.attached, new)
        return rbd_state.replace(self.client, self.image(volume).image, state, changed)

    def holder_address(self, volume: Volume, connector: Mapping[str, str]) -> str:
        """The mapping's Ceph client, and the node's host, where a hypervisor may open the image, too."""
        return rbd_fence.address(connector.get("client", rbd_fence.NONE), self._host(connector))

    def _host(self, connector: Mapping[str, str]) -> str:
        """The node's address, as the cluster sees it; unknown if the node asks by way of a controller."""
        if "client" in connector:
            return host_of(connector["client"])
        return self.client.own_host() if self.node == paths.node_name() else rbd_fence.NONE

    def is_alive(self, volume: Volume, holder: Holder) -> bool:
        return rbd_fence.is_alive(self, volume, holder)

    def fence(self, volume: Volume, holder: Holder) -> None:
        rbd_fence.cut_off(self, volume, *rbd_fence.parts(holder.address))


def _escaped(text: str) -> str:
    return "".join("\\" + char if char in "\\:@" else char for char in text)


BACKEND = RbdBackend
