# SPDX-License-Identifier: Apache-2.0
"""The contract of a backend: what a kind of storage must be able to do on its management side.

A backend makes, grows, exports and deletes volumes. It never touches a device of this node (that is
the connector's) and decides nothing that is the same for every storage (that is the workflow's:
which pool, which order, who may take a volume from whom).

Rules for every method:

- *Not found* is raised only on the storage's positive answer. What can't be asked is Unreachable.
- Calling a method twice is success with the same result, unless it says otherwise.
- A call that is killed leaves something that the same call, made again, finishes.
- No method's own work grows with the number of volumes in the pool.
- Every wait ends with ``self.deadline``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, ClassVar

    from extstorage_common.config import Option, Pool
    from extstorage_common.deadline import Deadline

    Connection = dict[str, Any]
    Check = tuple[str, Callable[[], None]]

EXCLUSIVE = "exclusive"
SHARED = "shared"


class Volume:
    """A disk at the storage: ``name`` is Ganeti's ``VOL_NAME``, ``size`` is in bytes."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size

    @property
    def size_mib(self) -> int:
        """The size in whole MiB."""
        return self.size >> 20


class Holder:
    """A node that has a volume open.

    ``mode`` is ``exclusive`` or ``shared``; ``address`` is what the storage needs to fence this very
    opening (a client address, an initiator's name), or ``-``; ``since`` is for people.
    """

    def __init__(self, node: str, mode: str, address: str = "-", since: str = "-") -> None:
        self.node = node
        self.mode = mode
        self.address = address
        self.since = since


class Holders:
    """Who has a volume open, as read at one moment.

    ``version`` is the backend's, a number or a text: it is how :meth:`Backend.replace_holders`
    notices that somebody else was quicker.
    """

    def __init__(self, version: object, entries: Sequence[Holder]) -> None:
        self.version = version
        self.entries = tuple(entries)

    def of(self, node: str) -> Holder | None:
        """The entry of this node."""
        return next((holder for holder in self.entries if holder.node == node), None)

    def others(self, node: str) -> list[Holder]:
        """The entries of all other nodes."""
        return [holder for holder in self.entries if holder.node != node]


class Capabilities:
    """What a backend can do; one table for the documentation, the commands and the tests.

    - ``fences``: it can stop serving one volume to one node.
    - ``liveness``: it can tell whether a holder is alive.
    - ``clones``: how a snapshot is made, in words.
    - ``userspace``: it offers URIs for hypervisors.
    - ``shared_open``: whether two nodes may have a volume open for a live migration, in words.
    """

    def __init__(
        self,
        *,
        fences: bool,
        liveness: bool,
        clones: str,
        userspace: bool,
        shared_open: str,
    ) -> None:
        self.fences = fences
        self.liveness = liveness
        self.clones = clones
        self.userspace = userspace
        self.shared_open = shared_open


class Backend(ABC):
    """One pool of one kind of storage, for one call.

    ``pool`` is the configuration's section, ``node`` this node's name in every record, ``deadline``
    what bounds the call.
    """

    NAME: ClassVar[str]
    CONNECTOR: ClassVar[str]
    """The connector that reaches its volumes (a name of ``connectors.NAMES``)."""
    OPTIONS: ClassVar[tuple[Option, ...]]
    """Its own options; those of every pool are ``config.COMMON_OPTIONS``."""
    DEFAULTS: ClassVar[Mapping[str, str]] = {}
    """Options for a provider without any configuration; a backend that can't work so has none."""
    CAPABILITIES: ClassVar[Capabilities]

    def __init__(self, pool: Pool, node: str, deadline: Deadline) -> None:
        """Asks the storage nothing, and reads no option that must be set.

        Where a pool has a controller, the nodes make one, too, but their configuration lacks these options.
        """
        self.pool = pool
        self.node = node
        self.deadline = deadline

    @classmethod
    def is_bulk(cls, action: str, pool: Pool) -> bool:
        """Whether ``action`` may copy or write a whole volume, and so gets ``copy_timeout``."""
        return False

    @classmethod
    def connectors_of(cls, pool: Pool) -> tuple[str, ...]:
        """The connectors that the pool's volumes may need; ``verify`` asks whether this node can use them."""
        return (cls.CONNECTOR,)

    def connector_of(self, volume: Volume) -> str:
        """The connector that reaches this volume."""
        return self.CONNECTOR

    # --- the pool ---------------------------------------------------------------------------------

    @abstractmethod
    def initialize_pool(self) -> str:
        """Make the pool real, for ``gnt-storage pool init``; returns its UUID.

        A pool that is real already keeps its UUID. Raises Refused where something else is there.
        """

    @abstractmethod
    def prepare_pool(self) -> None:
        """Make what of the pool may come into being with its first volume; called before each is made."""

    @abstractmethod
    def pool_uuid(self) -> str:
        """The pool's UUID, which is the same from every node. Raises Unreachable.

        >>> backend.pool_uuid()
        '2f2df27f-9ca1-4a6f-8328-6a1ecf41bd14'
        """

    @abstractmethod
    def capacity(self) -> tuple[int, int]:
        """Bytes in all and bytes free; ``(0, 0)`` means that the storage does not tell.

            >>> backend.capacity()
            (107374182400, 53687091200)

        Raises Unreachable.
        """

    @abstractmethod
    def checks(self) -> Sequence[Check]:
        """Named checks for ``verify``: each returns, or raises the error that says what to mend.

        >>> [name for name, check in backend.checks()]
        ['pool', 'filesystem']
        """

    # --- volumes ----------------------------------------------------------------------------------

    @abstractmethod
    def get_volume(self, name: str) -> Volume:
        """The volume of this name, completely made::

            >>> backend.get_volume("f7c1.ext.disk0").size
            1073741824

        Raises VolumeNotFound (positively not there), VolumeIncomplete (half-made), Unreachable.
        """

    @abstractmethod
    def list_volumes(self) -> list[str]:
        """The names of all volumes, half-made ones too. For people; no action calls it."""

    @abstractmethod
    def create_volume(self, name: str, size_mib: int) -> Volume:
        """Make a volume that reads as zeros.

        What was left half-made is made anew. A call that fails leaves nothing; one that is killed
        leaves a half-made volume, marked with its maker::

            >>> backend.create_volume("f7c1.ext.disk0", 1024).size
            1073741824

        Raises VolumeExists, BeingMade, NoSpace, Unreachable, Refused.
        """

    @abstractmethod
    def discard_incomplete(self, name: str) -> None:
        """Remove what a killed :meth:`create_volume` left of ``name``. Raises BeingMade."""

    @abstractmethod
    def extend_volume(self, volume: Volume, new_size_mib: int) -> Volume:
        """Grow to ``new_size_mib``, which is more than it has; what is new reads as zeros.

            >>> backend.extend_volume(volume, 2048).size
            2147483648

        Raises NoSpace (the volume is then as it was), Unreachable, Refused.
        """

    @abstractmethod
    def delete_volume(self, volume: Volume) -> None:
        """Delete the volume, its holders and its attachments.

        Until its data is really gone the volume stays there for :meth:`get_volume`, since Ganeti
        forgets a disk that can't be attached. Raises Unreachable, Refused (the volume is still there).
        """

    def purge_pool(self) -> list[str]:
        """Delete for good what :meth:`delete_volume` left for later; returns the names of what is gone now.

            >>> backend.purge_pool()
            ['f7c1.ext.disk0']

        Raises Unreachable. This default is for a storage that deletes at once.
        """
        return []

    @abstractmethod
    def create_snapshot(self, volume: Volume, name: str, is_quiet: Callable[[], None]) -> Volume:
        """Make ``name``, a volume of its own with the data that ``volume`` has now.

        ``is_quiet`` raises unless nothing on any node writes to ``volume``: a storage that has to
        copy calls it first::

            >>> backend.create_snapshot(volume, "f7c1.ext.disk0.snap", is_quiet).size == volume.size
            True

        Raises VolumeExists, NoSpace, and what ``is_quiet`` raises.
        """

    @abstractmethod
    def origin(self, volume: Volume) -> str:
        """The name of the volume that this one is a snapshot of; ``""`` if it is none.

        >>> backend.origin(backend.get_volume("f7c1.ext.disk0.snap"))
        'f7c1.ext.disk0'
        """

    @abstractmethod
    def set_metadata(self, volume: Volume, text: str) -> None:
        """Keep Ganeti's text with the volume, in the place of an earlier one.

            >>> backend.set_metadata(volume, "originstname+instance1")

        Raises Unreachable, Refused.
        """

    @abstractmethod
    def describe(self, volume: Volume) -> dict[str, str]:
        """What lives with the volume, for people: metadata, creation, allocation, attachments.

        >>> backend.describe(volume)["metadata"]
        'originstname+instance1'
        """

    # --- exports ----------------------------------------------------------------------------------

    @abstractmethod
    def initialize_connection(self, volume: Volume, connector: Mapping[str, str]) -> Connection:
        """Export the volume to this node, and note the attachment at the storage.

        ``connector`` is what :meth:`Connector.get_connector_properties` told of the node. Returns
        a connection in os-brick's shape::

            {"driver_volume_type": "loop", "data": {"path": "/srv/pool/v1/disk", "size": 16777216}}

        ``size`` is in bytes. An export that was lost is made again, the same disk.
        """

    def note_connected(self, volume: Volume, connector: Mapping[str, str]) -> None:  # noqa: B027
        """Called once the volume is connected, when more can be noted of the attachment at the storage.

        ``connector`` also has what :meth:`Connector.device_properties` told of the device.
        """

    @abstractmethod
    def terminate_connection(self, volume: Volume, connector: Mapping[str, str]) -> None:
        """Take the export to this node away, and the attachment; other nodes keep theirs.

            >>> backend.terminate_connection(volume, connector.get_connector_properties())
            >>> backend.attached_nodes(volume)
            ['node2.example.com']

        Raises Unreachable, Refused.
        """

    @abstractmethod
    def attached_nodes(self, volume: Volume) -> list[str]:
        """The nodes whose attachment is noted at the storage, sorted. Raises Unreachable."""

    def revoke_connection(self, volume: Volume, node: str) -> None:
        """Take the export to another node away, and its attachment, without that node's help.

        For a node that is dead or has left::

            >>> backend.revoke_connection(volume, "node2.example.com")
            >>> backend.attached_nodes(volume)
            []

        Raises Unreachable, Refused. This default fits a storage that knows an attachment by the
        node's name alone.
        """
        type(self)(self.pool, node, self.deadline).terminate_connection(volume, {})

    def forget_node(self, node: str, dry_run: bool) -> list[str]:
        """Remove what the pool itself, beside its volumes, keeps of a node that left the cluster.

        An entry of an access list, say, or of a host group. Returns what it was, in words::

            >>> backend.forget_node("node2.example.com", dry_run=True)
            ['host group node2']

        Raises Unreachable, Refused. This default is for a pool that keeps nothing.
        """
        return []

    def restore_exports(self) -> list[str]:
        """Export again what was exported before this machine was restarted, and nothing else.

        For ``gnt-storage controller restore`` on the machine that has the storage; returns the volumes::

            >>> backend.restore_exports()
            ['f7c1.ext.disk0']

        Raises Unreachable, Refused. This default is for a storage that forgets nothing.
        """
        return []

    def userspace_uris(self, volume: Volume) -> list[str]:
        """URIs for hypervisors, each with the hypervisor's name in front: ``kvm:file:/srv/...``."""
        return []

    # --- holders ----------------------------------------------------------------------------------

    @abstractmethod
    def read_holders(self, volume: Volume) -> Holders:
        """Who has the volume open.

            >>> [(one.node, one.mode) for one in backend.read_holders(volume).entries]
            [('node1.example.com', 'exclusive')]

        Raises Unreachable.
        """

    @abstractmethod
    def replace_holders(self, volume: Volume, old: Holders, new: Sequence[Holder]) -> bool:
        """Replace the holders if they are still ``old``: an atomic compare-and-set at the storage.

        False if somebody else changed them meanwhile; nothing is changed then::

            >>> old = backend.read_holders(volume)
            >>> backend.replace_holders(volume, old, [Holder("node1.example.com", EXCLUSIVE)])
            True
            >>> backend.replace_holders(volume, old, [Holder("node2.example.com", EXCLUSIVE)])
            False

        Raises Unreachable, Refused.
        """

    def holder_address(self, volume: Volume, connector: Mapping[str, str]) -> str:
        """What :meth:`fence` will need to know of this node's opening; ``-`` for nothing.

        ``connector`` also has what :meth:`Connector.device_properties` told of the device.
        """
        return "-"

    def is_alive(self, volume: Volume, holder: Holder) -> bool:
        """Whether this holder still talks to the storage; waits as long as the storage needs to know.

        Only for backends with ``liveness``.
        """
        raise NotImplementedError

    def fence(self, volume: Volume, holder: Holder) -> None:
        """Stop serving this volume to this holder, and return once that is certain.

        Only for backends with ``fences``.
        """
        raise NotImplementedError
