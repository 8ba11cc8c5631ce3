# SPDX-License-Identifier: Apache-2.0
"""What changes while a volume lives, in a RADOS object beside its image; and which volumes are half-made.

``ganeti-extstorage.state.<image id>`` has the volume's attachments and holders as one record, which is
replaced as a whole if its version is still the one that was read: an atomic operation of the OSD. An
image without such an object has neither. The record is not kept in the image's own metadata, since these
are changed under the image's lock, which a running virtual machine has and a dead one keeps for half a
minute. Ganeti's text is an attribute of the same object.

``ganeti-extstorage.making`` maps the volumes that are being made to their makers; an entry is changed
only if it is still what was read.
"""

from __future__ import annotations

import errno

from extstorage_common import makers, records
from extstorage_common.backends.base import Holder
from extstorage_common.backends.rbd_client import COMPARED_UNEQUAL
from extstorage_common.errors import BeingMade
from extstorage_common.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from extstorage_common.backends.rbd_client import Client

PREFIX = "ganeti-extstorage."
MAKING = PREFIX + "making"
TITLE = "state 1"
METADATA = "metadata"
EQUAL = 1
"""The comparison of omap_cmp, from rados.h; a key that is not there counts as empty."""
FULL_FORCE = 128
"""LIBRADOS_OPERATION_FULL_FORCE, which Ceph's Python package has no name for."""
_LOST = (*COMPARED_UNEQUAL, errno.ENOENT, errno.EEXIST)
MAX_BYTES = 1 << 20


class Attached:
    """A node's attachment: ``address`` is the mapping's Ceph client or ``-``, ``host`` the node's address."""

    def __init__(self, node: str, host: str, address: str = "-") -> None:
        self.node = node
        self.host = host
        self.address = address

    def words(self) -> str:
        """The attachment in one line."""
        return f"{self.node} {self.host} {self.address}"


class State:
    """Attachments and holders as read at one moment; ``version`` is the object's, None if there is none."""

    def __init__(
        self, version: int | None, attached: Sequence[Attached] = (), holders: Sequence[Holder] = ()
    ) -> None:
        self.version = version
        self.attached = tuple(attached)
        self.holders = tuple(holders)

    def of(self, node: str) -> Attached | None:
        """The attachment of a node."""
        return next((one for one in self.attached if one.node == node), None)

    def dump(self) -> str:
        """The state as one text, its version in front."""
        version = "" if self.version is None else str(self.version)
        return f"{version}\n{self.record().dump().decode()}"

    @classmethod
    def load(cls, text: str) -> State:
        """The state that :meth:`dump` made this text of."""
        version, _, content = text.partition("\n")
        return cls.parse(int(version) if version else None, content.encode(), "a node's request")

    @classmethod
    def parse(cls, version: int | None, content: bytes, where: str) -> State:
        """The state that the object ``where`` has; empty while only Ganeti's text was written to it."""
        if not content:
            return cls(version)
        record = records.parse(content, TITLE, where)
        return cls(
            version,
            [Attached(*line.split(" ")) for line in record.all("attached")],
            [Holder(*line.split(" ")) for line in record.all("holder")],
        )

    def record(self) -> Record:
        """The state as it is written."""
        lines = [("attached", one.words()) for one in self.attached]
        lines += [("holder", f"{one.node} {one.mode} {one.address} {one.since}") for one in self.holders]
        return Record(TITLE, lines)


def _object(image: str) -> str:
    return f"{PREFIX}state.{image}"


def read(client: Client, image: str) -> State:
    """The state of the image with this id."""
    ioctx = client.ioctx
    try:
        with client.answers("reading who uses the image"):
            content = ioctx.read(_object(image), MAX_BYTES)
            version = ioctx.get_last_version()
    except client.rados.ObjectNotFound:
        return State(None)
    return State.parse(version, content, _object(image))


def replace(client: Client, image: str, old: State, new: State) -> bool:
    """Make ``new`` the state if it is still ``old``; False if not."""
    rados = client.rados
    with rados.WriteOpCtx() as operation:
        if old.version is None:
            operation.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
        else:
            operation.assert_version(old.version)
        operation.write_full(new.record().dump())
        return _operate(client, operation, _object(image), "changing who uses the image")


def forget(client: Client, image: str) -> None:
    """Remove the state."""
    try:
        with client.answers("forgetting who used the image"):
            client.ioctx.remove_object(_object(image))
    except client.rados.ObjectNotFound:
        pass


def metadata(client: Client, image: str) -> str:
    """Ganeti's text."""
    try:
        with client.answers("reading the volume's metadata"):
            content = client.ioctx.get_xattr(_object(image), METADATA)
    except (client.rados.ObjectNotFound, client.rados.NoData):
        return ""
    return bytes(content).decode("utf-8", "surrogateescape")


def set_metadata(client: Client, image: str, text: str) -> None:
    """Keep Ganeti's text."""
    with client.answers("writing the volume's metadata"):
        client.ioctx.set_xattr(_object(image), METADATA, text.encode("utf-8", "surrogateescape"))


# --- half-made volumes ------------------------------------------------------------------------------


def maker(client: Client, name: str) -> Record | None:
    """Who makes, or made and did not finish, the volume; None if nobody."""
    content = _maker(client, name)
    return records.parse(content, makers.TITLE, f"{MAKING} {name}") if content else None


def begin_making(client: Client, name: str, mark: Record) -> Record | None:
    """Become the volume's maker; returns the dead one that did not finish, if any. Raises BeingMade."""
    content, old = b"", None  # as it nearly always is
    for _ in client.deadline.attempts():
        if _replace_maker(client, name, content, mark.dump()):
            return old
        content = _maker(client, name)
        old = records.parse(content, makers.TITLE, f"{MAKING} {name}") if content else None
        if old is not None and makers.is_alive(old, mark.get("node")):
            raise BeingMade(maker=makers.text(old))
    raise BeingMade(maker="somebody else")


def end_making(client: Client, name: str) -> None:
    """Be the volume's maker no more: it is made, or nothing of it is left."""
    rados = client.rados
    with rados.WriteOpCtx() as operation:
        client.ioctx.remove_omap_keys(operation, (name,))
        _operate(client, operation, MAKING, "noting that the volume is made")


def forget_maker(client: Client, name: str, node: str) -> None:
    """Remove the mark that a maker left on a volume that is complete, if it is dead as seen from ``node``."""
    rados = client.rados
    mark = maker(client, name)
    if mark is None or makers.is_alive(mark, node):
        return
    with rados.WriteOpCtx() as operation:
        operation.omap_cmp(name, mark.dump().decode(), EQUAL)
        client.ioctx.remove_omap_keys(operation, (name,))
        _operate(client, operation, MAKING, "forgetting who made the volume")


def half_made(client: Client) -> list[str]:
    """The volumes that have a maker."""
    return client.map_keys(MAKING)


def _maker(client: Client, name: str) -> bytes:
    rados = client.rados
    with rados.ReadOpCtx() as operation:
        entries, _ = client.ioctx.get_omap_vals_by_keys(operation, (name,))
        try:
            with client.answers("asking who makes the volume"):
                client.ioctx.operate_read_op(operation, MAKING)
        except rados.ObjectNotFound:
            return b""
        return next((bytes(value) for _, value in entries), b"")


def _replace_maker(client: Client, name: str, old: bytes, new: bytes) -> bool:
    rados = client.rados
    with rados.WriteOpCtx() as operation:
        operation.new(rados.LIBRADOS_CREATE_IDEMPOTENT)
        operation.omap_cmp(name, old.decode("utf-8"), EQUAL)
        client.ioctx.set_omap(operation, (name,), (new,))
        return _operate(client, operation, MAKING, "noting who makes the volume")


def _operate(client: Client, operation: object, name: str, what: str) -> bool:
    """Let the OSD do it, wholly or not at all; False if what it was to compare is not so.

    Done also in a full pool, where volumes must still be attached, and removed.
    """
    rados = client.rados
    try:
        with client.answers(what):
            client.ioctx.operate_write_op(operation, name, flags=FULL_FORCE)
    except rados.Error as error:
        if getattr(error, "errno", None) in _LOST:
            return False
        raise
    return True
