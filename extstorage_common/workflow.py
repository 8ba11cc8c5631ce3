# SPDX-License-Identifier: Apache-2.0
"""The actions, over a backend and a connector.

Attaching follows the calls of the block-storage world: reserve, ``initialize_connection``,
``connect_volume``, attached; detaching: begin, ``disconnect_volume``, ``terminate_connection``,
gone. This node's record is written before each step, so that whatever a killed call leaves, the
next one finishes.
"""

from __future__ import annotations

from extstorage_common import attachments, connectors, holders, paths
from extstorage_common.attachments import ATTACHED, ATTACHING, DETACHING, Attachment
from extstorage_common.connectors.base import NO_DEVICE
from extstorage_common.crash import crash_point
from extstorage_common.errors import (
    AttachedByAnother,
    Busy,
    DeviceBusy,
    ExtStorageError,
    NotASnapshot,
    NotFound,
    OnlyUserspace,
    PoolsTheSame,
    Refused,
    SharedOpenImpossible,
    SnapshotInUse,
    StorageAway,
    TimedOut,
    Unreachable,
    VolumeAmbiguous,
    VolumeExists,
    VolumeIncomplete,
    VolumeNotFound,
    VolumeOpen,
    WrongDevice,
)
from extstorage_common.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from extstorage_common.backends.base import Backend, Volume
    from extstorage_common.config import Pool
    from extstorage_common.connectors.base import Connector
    from extstorage_common.deadline import Deadline
    from extstorage_common.provider import Provider
    from extstorage_common.request import Request


class Workflow:
    """One call: :meth:`run` does what the request asks."""

    deadline: Deadline
    asking: Callable[[str], None]

    def __init__(self, request: Request, provider: Provider) -> None:
        self.request = request
        self.provider = provider
        self.configuration = provider.configuration
        self.node = paths.node_name()
        if request.action == "create":
            self.chosen = self._pool_for_new()

    def likely_pool(self) -> Pool:
        """The pool that the call will most likely be about; its options bound the call's time."""
        if self.request.action == "create":
            return self.chosen
        expected = self._expected_pools(self.request.volume)
        return self.provider.pool(expected[0] if expected else self.configuration.first_pool())

    def run(self, deadline: Deadline, asking: Callable[[str], None]) -> list[str]:
        """Do the request's action and return the lines for stdout.

        ``asking`` is told a pool before it is asked anything, and raises if that is pointless; ``""`` tells
        it that the call is about no single pool.
        Raises the errors of ``errors.py``.
        """
        self.deadline = deadline
        self.asking = asking
        action: Callable[[], list[str] | None] = getattr(self, self.request.action)
        with self._lock(self.request.volume):
            return action() or []

    def _lock(self, volume: str) -> Lock:
        return Lock(volume, self.request.action, self.deadline)

    # --- the actions ------------------------------------------------------------------------------

    def create(self) -> None:
        """Make a volume, in the pool and with the options that the request chooses."""
        name = self.request.volume
        self._refuse_existing(name)
        self.asking(self.chosen.name)
        backend = self._backend(self.chosen)
        backend.prepare_pool()
        self._drop_stale_attachment(name)
        backend.create_volume(name, self.request.size)

    def attach(self) -> list[str]:
        """Connect this node, unless it is connected; prints the device, then URIs."""
        attachment = self._attachment(self.request.volume)
        if attachment is None or attachment.state != ATTACHED or not attachment.is_here():
            backend, volume = self.find(self.request.volume)
            attachment = self._connect(backend, volume, attachment)
        else:
            # The door would have answered, were the link not lost or wrong.
            attachment.save()
        uris = attachment.uris if self.request.userspace or not attachment.link else []
        return [attachment.link, *uris]

    def detach(self) -> None:
        """Disconnect this node, then drop what it held at the storage."""
        name = self.request.volume
        attachment = self._attachment(name)
        if attachment is None:
            # After a restart nothing is here, but this node may still count as a holder.
            try:
                backend, volume = self.find(name)
            except NotFound:
                return
            self._leave(backend, volume)
            return
        self._disconnect(attachment)
        try:
            backend, volume = self.find(name)
            self._leave(backend, volume)
        except NotFound:
            pass
        except (Unreachable, TimedOut) as error:
            raise StorageAway(reason=error) from error
        attachment.forget()

    def open(self) -> None:
        """Prove with the storage that the device is alive and right, then become a holder."""
        backend, volume = self.find(self.request.volume)
        attachment = self._sound_attachment(backend, volume)
        if not attachment.link and not self.request.userspace:
            raise OnlyUserspace
        connector = self._connector(attachment.connector)
        if not self.request.exclusive and not connector.is_coherent(attachment.device):
            raise SharedOpenImpossible(device=attachment.link)
        address = backend.holder_address(volume, _properties(connector, attachment.device))
        if holders.open_volume(backend, volume, self.request.exclusive, address, paths.offline_nodes()):
            connector.invalidate(attachment.kept, attachment.device)

    def close(self) -> None:
        """Write out what is cached, and be no holder any more. Never refuses."""
        attachment = self._attachment(self.request.volume)
        if attachment is not None and attachment.state == ATTACHED and attachment.is_here():
            try:
                self._connector(attachment.connector).flush(attachment.device)
            except Refused:
                pass  # a node that was fenced can write nothing any more
        try:
            backend, volume = self.find(self.request.volume)
        except NotFound:
            return
        holders.close_volume(backend, volume)

    def remove(self) -> None:
        """Delete the volume for good; a volume that is not there is success."""
        name = self.request.volume
        try:
            backend, volume = self.find(name)
        except VolumeIncomplete as error:
            self._backend(self.provider.pool(str(error.fields["pool"]))).discard_incomplete(name)
            self._drop_stale_attachment(name)
            return
        except NotFound:
            self._drop_stale_attachment(name)
            return
        attachment = self._attachment(name)
        if attachment is not None:
            self._refuse_users(attachment)
            self._disconnect(attachment)
        self._delete(backend, volume)
        if attachment is not None:
            attachment.forget()

    def grow(self) -> None:
        """Grow the volume, and let this node's device show it."""
        backend, volume = self.find(self.request.volume)
        if self.request.new_size > volume.size_mib:
            volume = backend.extend_volume(volume, self.request.new_size)
            crash_point("grow.extended")
        attachment = self._attachment(volume.name)
        # A device whose volume was deleted under it counts, too: the connector says that it is wrong.
        if attachment is not None and attachment.is_bound():
            connector = self._connector(attachment.connector)
            data = self._export(backend, volume, connector)
            connector.extend_volume(data, attachment.device)

    def setinfo(self) -> None:
        """Keep Ganeti's text with the volume."""
        backend, volume = self.find(self.request.volume)
        backend.set_metadata(volume, self.request.metadata)

    def snapshot(self) -> None:
        """Make a snapshot, which is a volume of its own; one that nobody uses is replaced."""
        backend, volume = self.find(self.request.volume)
        with self._lock(self.request.snapshot):
            self._remove_old_snapshot(backend, volume)
            attachment = self._attachment(volume.name)
            if attachment is not None and attachment.state != ATTACHING and attachment.is_here():
                self._connector(attachment.connector).flush(attachment.device)
            self._make_snapshot(backend, volume)

    def _attachment(self, name: str) -> Attachment | None:
        """This node's record of a volume. Raises AttachedByAnother if it is another provider's."""
        attachment = attachments.load(name)
        if attachment is not None and attachment.provider != self.provider.name:
            raise AttachedByAnother(provider=attachment.provider)
        return attachment

    # --- finding ----------------------------------------------------------------------------------

    def _backend(self, pool: Pool) -> Backend:
        return self.provider.open_pool(pool, self.deadline)

    def _pool_for_new(self) -> Pool:
        """The pool and the options that a volume to be made shall have; refuses what is not allowed."""
        self.provider.check_names()
        pool = self.provider.pool(self.configuration.pool_for_new(self.request.parameters))
        return self.provider.choose(pool, self.request.parameters)

    def find(self, name: str) -> tuple[Backend, Volume]:
        """The volume and where it is.

        It is looked for in this node's record, in the pool that the request names, then in every
        other pool: Ganeti changes parameters without telling us. A pool that does not answer makes
        a volume that is not found elsewhere *unknown*, never absent.
        """
        expected = self._expected_pools(name)
        found: list[tuple[Backend, Volume]] = []
        problems: list[tuple[str, ExtStorageError]] = []
        others = [pool for pool in self.configuration.pool_names() if pool not in expected]
        for pool_name in [*expected, *others]:
            try:
                backend = self._backend(self.provider.pool(pool_name))
                self.asking(pool_name)
                found.append((backend, backend.get_volume(name)))
            except VolumeNotFound:
                continue
            except ExtStorageError as error:
                problems.append((pool_name, error))
            if found and pool_name in expected:
                return found[0]
        if len(found) == 1:
            self.asking(found[0][0].pool.name)
            return found[0]
        raise self._why_not(found, problems, [*expected, *others])

    def _why_not(
        self,
        found: list[tuple[Backend, Volume]],
        problems: list[tuple[str, ExtStorageError]],
        asked: list[str],
    ) -> ExtStorageError:
        """Why there is not one volume; the sentence names the pool that this is about, if it is one."""
        if not found and problems:
            # What is unknown counts more than what was left half-made.
            pool, error = min(problems, key=lambda problem: isinstance(problem[1], NotFound))
            self.asking(pool)
            return error
        if len(asked) > 1:
            self.asking("")
        if found:
            return self._ambiguous([backend for backend, _ in found])
        return VolumeNotFound(where=f"pool{'s' if len(asked) > 1 else ''} {', '.join(asked)}")

    def _ambiguous(self, backends: Sequence[Backend]) -> ExtStorageError:
        """Who is told of two volumes removes one: if there is but one, nobody may think so."""
        names: dict[str, list[str]] = {}
        for backend in backends:
            names.setdefault(backend.pool_uuid(), []).append(backend.pool.name)
        for same in names.values():
            if len(same) > 1:
                return PoolsTheSame(pools=", ".join(same), file=self.configuration.file)
        return VolumeAmbiguous(pools=", ".join(backend.pool.name for backend in backends))

    def _expected_pools(self, name: str) -> list[str]:
        attachment = self._attachment(name)
        expected = [attachment.pool] if attachment is not None else []
        chosen = self.configuration.chosen_pool(self.request.parameters)
        if chosen is not None and chosen not in expected:
            expected.append(chosen)
        return [pool for pool in expected if pool in self.configuration.pool_names()]

    def _refuse_existing(self, name: str) -> None:
        """A volume is not made while a complete one of its name is in any pool that answers."""
        try:
            backend, volume = self.find(name)
        except (NotFound, Unreachable):
            return
        raise VolumeExists(size=volume.size_mib, where=backend.pool.name)

    # --- connecting -------------------------------------------------------------------------------

    def _connector(self, name: str) -> Connector:
        return connectors.load(name)(self.deadline)

    def _export(self, backend: Backend, volume: Volume, connector: Connector) -> dict[str, Any]:
        """Have the storage export the volume to this node, unless it does; returns the connection's data."""
        connection = backend.initialize_connection(volume, connector.get_connector_properties())
        data: dict[str, Any] = connection["data"]
        return data

    def _connect(self, backend: Backend, volume: Volume, old: Attachment | None) -> Attachment:
        """Connect this node, whatever an earlier call left; undone again if it fails."""
        connector = self._connector(backend.connector_of(volume))
        attachment = Attachment(
            volume.name, backend.pool.provider, backend.pool.name, ATTACHING, connector.NAME
        )
        if old is not None and old.connector == connector.NAME and old.is_here():
            attachment.device, attachment.kept = old.device, old.kept
        elif old is not None:
            self._disconnect(old)
        attachment.save()
        crash_point("attach.reserved")
        try:
            self._connect_device(backend, volume, connector, attachment)
        except Exception:
            self._undo_connect(backend, volume, attachment)
            raise
        return attachment

    def _connect_device(
        self, backend: Backend, volume: Volume, connector: Connector, attachment: Attachment
    ) -> None:
        data = self._export(backend, volume, connector)
        attachment.kept = connector.kept(data)
        attachment.save()
        crash_point("attach.exported")

        def remember(device: str) -> None:
            attachment.device = device
            attachment.save()

        attachment.device = connector.connect_volume(data, attachment.device, remember)
        crash_point("attach.connected")
        attachment.identity = connector.identity(attachment.device)
        if not attachment.identity and attachment.device != NO_DEVICE:
            raise WrongDevice(device=attachment.device, reason="it went away as soon as it was connected")
        attachment.gone = connector.gone(attachment.device)
        backend.note_connected(volume, _properties(connector, attachment.device))
        attachment.uris = backend.userspace_uris(volume)
        attachment.state = ATTACHED
        attachment.save()
        crash_point("attach.attached")

    def _undo_connect(self, backend: Backend, volume: Volume, attachment: Attachment) -> None:
        """Best effort: what fails here is finished by the next attach or detach, from the record."""
        try:
            connector = self._connector(attachment.connector)
            self._disconnect_device(attachment, connector)
            backend.terminate_connection(volume, connector.get_connector_properties())
        except (ExtStorageError, OSError):
            return
        attachment.forget()

    def _sound_attachment(self, backend: Backend, volume: Volume) -> Attachment:
        """This node's attachment, its device proved with the storage, else connected anew."""
        attachment = self._attachment(volume.name)
        if attachment is None or attachment.state != ATTACHED or not attachment.is_here():
            return self._connect(backend, volume, attachment)
        connector = self._connector(attachment.connector)
        data = self._export(backend, volume, connector)
        if connector.is_connected(data, attachment.device):
            return attachment
        try:
            connector.extend_volume(data, attachment.device)
        except ExtStorageError:
            pass
        if not connector.is_connected(data, attachment.device):
            self._disconnect(attachment)
            return self._connect(backend, volume, None)
        return attachment

    # --- disconnecting ----------------------------------------------------------------------------

    def _disconnect(self, attachment: Attachment) -> None:
        """Make this node's device disappear; the record stays, as ``detaching``."""
        if self.request.userspace:
            self._refuse_users(attachment)
        connector = self._connector(attachment.connector)
        attachment.state = DETACHING
        attachment.save()
        crash_point("detach.begun")
        try:
            self._disconnect_device(attachment, connector)
        except Busy:
            if not (self._is_cut_off(attachment) and connector.abandon(attachment.kept, attachment.device)):
                attachment.state = ATTACHED
                attachment.save()
                raise
        crash_point("detach.disconnected")
        attachment.device = ""
        attachment.save()

    def _is_cut_off(self, attachment: Attachment) -> bool:
        """Whether the storage says that this node has no part in the volume any more: it was fenced."""
        try:
            backend, volume = self.find(attachment.volume)
            return self.node not in backend.attached_nodes(volume)
        except ExtStorageError:
            return False

    def _disconnect_device(self, attachment: Attachment, connector: Connector) -> None:
        """Disconnect the device that the record names, if it is still this attachment's."""
        identity = attachment.identity if attachment.is_bound() else []
        remembered = "" if attachment.identity else attachment.device
        if remembered and connector.is_volume(attachment.kept, remembered):
            identity = connector.identity(remembered)
        if identity:
            connector.disconnect_volume(attachment.kept, attachment.device, identity)
        elif attachment.kept:
            connector.cleanup_connection(attachment.kept)

    def _leave(self, backend: Backend, volume: Volume) -> None:
        """Drop this node's holding and its attachment at the storage."""
        holders.close_volume(backend, volume)
        crash_point("detach.closed")
        properties = self._connector(backend.connector_of(volume)).get_connector_properties()
        backend.terminate_connection(volume, properties)
        crash_point("detach.terminated")

    def _drop_stale_attachment(self, name: str) -> None:
        """Disconnect from a volume that is gone at the storage."""
        attachment = self._attachment(name)
        if attachment is not None:
            self._disconnect(attachment)
            attachment.forget()

    # --- removing and copying ---------------------------------------------------------------------

    def _refuse_users(self, attachment: Attachment) -> None:
        """Raise DeviceBusy while anything on this node uses the device, or the volume past it."""
        if users := self._users(attachment):
            raise DeviceBusy(device=attachment.link, users=", ".join(users))

    def _users(self, attachment: Attachment) -> list[str]:
        """What uses it on this node: nothing that was reserved and never exported."""
        if not attachment.kept:
            return []
        return self._connector(attachment.connector).users(attachment.kept, attachment.device)

    def _delete(self, backend: Backend, volume: Volume) -> None:
        """Delete a volume that no other node has open; if that is refused, nor has this one."""
        reserved = holders.reserve(backend, volume, paths.offline_nodes())
        crash_point("remove.reserved")
        try:
            backend.delete_volume(volume)
        except (Busy, Refused):
            if reserved:
                self._close_quietly(backend, volume)
            raise

    def _close_quietly(self, backend: Backend, volume: Volume) -> None:
        """Be no holder any more after an error, which is the one that counts."""
        try:
            holders.close_volume(backend, volume)
        except ExtStorageError:
            pass

    def _remove_old_snapshot(self, backend: Backend, volume: Volume) -> None:
        name = self.request.snapshot
        try:
            old = backend.get_volume(name)
        except NotFound:
            return
        if backend.origin(old) != volume.name:
            raise NotASnapshot(snapshot=name)
        users = [f"attached on node {node}" for node in backend.attached_nodes(old)]
        users += [f"open on node {holder.node}" for holder in backend.read_holders(old).entries]
        if users:
            raise SnapshotInUse(snapshot=name, users=", ".join(users))
        backend.delete_volume(old)

    def _make_snapshot(self, backend: Backend, volume: Volume) -> None:
        reserved = False

        def is_quiet() -> None:
            nonlocal reserved
            attachment = self._attachment(volume.name)
            if attachment is not None and (users := self._users(attachment)):
                raise VolumeOpen(device=attachment.link, users=", ".join(users))
            reserved = holders.reserve(backend, volume, paths.offline_nodes())

        try:
            backend.create_snapshot(volume, self.request.snapshot, is_quiet)
        finally:
            if reserved:
                holders.close_volume(backend, volume)


def _properties(connector: Connector, device: str) -> dict[str, str]:
    """What a backend may know of this node and of its device."""
    return {**connector.get_connector_properties(), **connector.device_properties(device)}
