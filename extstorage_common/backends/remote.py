# SPDX-License-Identifier: Apache-2.0
"""A pool whose storage only its controller may reach: every call goes there.

The controller has a configuration of its own, which says what the pool really is. Of this node's
configuration only two things count: how long a call may last, and how the controller is reached. What a
call may do there is limited by the controller, not here.
"""

from __future__ import annotations

from extstorage_common import __version__, wire
from extstorage_common.backends.base import Backend
from extstorage_common.errors import ConfigurationError, Refused
from extstorage_common.transports import openssh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from extstorage_common.backends.base import Check, Connection, Holder, Holders, Volume
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline
    from extstorage_common.errors import ExtStorageError


class ProtocolDiffers(ConfigurationError):
    template = (
        "controller {host} has version {theirs} of this suite and this node {ours}, "
        "which do not understand each other; install the same version on both"
    )


class CallUnknown(ConfigurationError):
    template = (
        "controller {host}, which has version {theirs} of this suite, does not know {call} of this node, "
        "which has {ours}; install the same version on both, and let '{provider}' have the same backend there"
    )


class PoolIsControllers(Refused):
    template = "only controller {host} can do that; call there: gnt-storage pool init {provider} {pool}"


_sessions: dict[str, openssh.Session] = {}
"""Open conversations, one with each controller, which end with this process."""


class RemoteBackend(Backend):
    """One pool, by way of its controller. ``local`` is what the pool's backend is there."""

    NAME = "remote"
    OPTIONS = ()

    def __init__(self, local: type[Backend], pool: Pool, node: str, deadline: Deadline) -> None:
        super().__init__(pool, node, deadline)
        self.local = local(pool, node, deadline)
        self.CONNECTOR = self.local.CONNECTOR  # type: ignore[misc]
        self.CAPABILITIES = self.local.CAPABILITIES  # type: ignore[misc]

    # --- asking -----------------------------------------------------------------------------------

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Let the controller call its backend's method; returns or raises what that does."""
        session = self._session()
        request = {
            "provider": self.pool.provider,
            "pool": self.pool.name,
            "parameters": self.pool.chosen,
            "seconds": self.deadline.left(),
            "method": method,
            "arguments": list(arguments),
        }
        try:
            session.write(wire.dump(request))
            line = session.read()
            if not line:
                raise openssh.ControllerGone(host=self.pool["controller"])
        except BaseException:
            _sessions.pop(session.destination.identity, None)
            session.close()
            raise
        answer = wire.load(line)
        if "error" in answer:
            raise self._failure(wire.decode_error(answer["error"]), session, method, arguments)
        return answer["result"]

    def _failure(
        self, error: ExtStorageError, session: openssh.Session, method: str, arguments: Sequence[Any]
    ) -> ExtStorageError:
        """The controller's error; or what it means that it does not know the call."""
        is_check = method == "check"
        if not isinstance(error, wire.BadArgument) or (session.suite == __version__ and not is_check):
            return error
        return CallUnknown(
            host=self.pool["controller"],
            theirs=session.suite,
            ours=__version__,
            call=f"check '{arguments[0]}'" if is_check else f"call '{method}'",
            provider=self.pool.provider,
        )

    def _session(self) -> openssh.Session:
        """The conversation with the controller, begun if need be. Raises Unreachable, ProtocolDiffers."""
        destination = openssh.Destination(self.pool)
        session = _sessions.get(destination.identity)
        if session is None or session.process.poll() is not None:
            session, line = openssh.open_session(destination, self.deadline)
            self._check_greeting(line, session)
            _sessions[destination.identity] = session
        session.deadline = self.deadline
        return session

    def _check_greeting(self, line: bytes, session: openssh.Session) -> None:
        host = self.pool["controller"]
        try:
            greeting = wire.load(line)
            protocol, suite = greeting["protocol"], greeting["suite"]
        except (wire.BadMessage, KeyError):
            session.close()
            said = line.decode(errors="backslashreplace")[:100]
            raise openssh.ControllerUnfit(host=host, reason=f"it says: {said}") from None
        if protocol != wire.PROTOCOL:
            session.close()
            theirs = f"{suite} (protocol {protocol})"
            ours = f"{__version__} (protocol {wire.PROTOCOL})"
            raise ProtocolDiffers(host=host, theirs=theirs, ours=ours)
        session.suite = str(suite)

    def connector_of(self, volume: Volume) -> str:
        if type(self.local).connector_of is Backend.connector_of:
            return self.CONNECTOR
        connector: str = self._ask("connector_of", volume)
        return connector

    # --- the pool ---------------------------------------------------------------------------------

    def initialize_pool(self) -> str:
        raise PoolIsControllers(
            host=self.pool["controller"], provider=self.pool.provider, pool=self.pool.name
        )

    def prepare_pool(self) -> None:
        self._ask("prepare_pool")

    def pool_uuid(self) -> str:
        uuid: str = self._ask("pool_uuid")
        return uuid

    def capacity(self) -> tuple[int, int]:
        total, free = self._ask("capacity")
        return total, free

    def checks(self) -> Sequence[Check]:
        return [("controller", self._check_controller), *map(self._remote_check, self.local.checks())]

    def _check_controller(self) -> None:
        self._session()

    def _remote_check(self, check: Check) -> Check:
        name, _ = check
        return name, lambda: self._ask("check", name)

    # --- volumes ----------------------------------------------------------------------------------

    def get_volume(self, name: str) -> Volume:
        volume: Volume = self._ask("get_volume", name)
        return volume

    def list_volumes(self) -> list[str]:
        names: list[str] = self._ask("list_volumes")
        return names

    def create_volume(self, name: str, size_mib: int) -> Volume:
        volume: Volume = self._ask("create_volume", name, size_mib)
        return volume

    def discard_incomplete(self, name: str) -> None:
        self._ask("discard_incomplete", name)

    def extend_volume(self, volume: Volume, new_size_mib: int) -> Volume:
        extended: Volume = self._ask("extend_volume", volume, new_size_mib)
        return extended

    def delete_volume(self, volume: Volume) -> None:
        self._ask("delete_volume", volume)

    def purge_pool(self) -> list[str]:
        names: list[str] = self._ask("purge_pool")
        return names

    def create_snapshot(self, volume: Volume, name: str, is_quiet: Callable[[], None]) -> Volume:
        """A storage that has to copy refuses at first; the node makes sure, and asks again."""
        snapshot: Volume
        try:
            snapshot = self._ask("create_snapshot", volume, name, False)
        except wire.QuietNeeded:
            is_quiet()
            snapshot = self._ask("create_snapshot", volume, name, True)
        return snapshot

    def origin(self, volume: Volume) -> str:
        origin: str = self._ask("origin", volume)
        return origin

    def set_metadata(self, volume: Volume, text: str) -> None:
        self._ask("set_metadata", volume, text)

    def describe(self, volume: Volume) -> dict[str, str]:
        told: dict[str, str] = self._ask("describe", volume)
        return told

    # --- exports ----------------------------------------------------------------------------------

    def initialize_connection(self, volume: Volume, connector: Mapping[str, str]) -> Connection:
        connection: Connection = self._ask("initialize_connection", volume, dict(connector))
        return connection

    def note_connected(self, volume: Volume, connector: Mapping[str, str]) -> None:
        if type(self.local).note_connected is not Backend.note_connected:
            self._ask("note_connected", volume, dict(connector))

    def terminate_connection(self, volume: Volume, connector: Mapping[str, str]) -> None:
        self._ask("terminate_connection", volume, dict(connector))

    def attached_nodes(self, volume: Volume) -> list[str]:
        nodes: list[str] = self._ask("attached_nodes", volume)
        return nodes

    def revoke_connection(self, volume: Volume, node: str) -> None:
        self._ask("revoke_connection", volume, node)

    def forget_node(self, node: str, dry_run: bool) -> list[str]:
        told: list[str] = self._ask("forget_node", node, dry_run)
        return told

    def userspace_uris(self, volume: Volume) -> list[str]:
        uris: list[str] = self._ask("userspace_uris", volume)
        return uris

    # --- holders ----------------------------------------------------------------------------------

    def read_holders(self, volume: Volume) -> Holders:
        holders: Holders = self._ask("read_holders", volume)
        return holders

    def replace_holders(self, volume: Volume, old: Holders, new: Sequence[Holder]) -> bool:
        replaced: bool = self._ask("replace_holders", volume, old, list(new))
        return replaced

    def holder_address(self, volume: Volume, connector: Mapping[str, str]) -> str:
        address: str = self._ask("holder_address", volume, dict(connector))
        return address

    def is_alive(self, volume: Volume, holder: Holder) -> bool:
        alive: bool = self._ask("is_alive", volume, holder)
        return alive

    def fence(self, volume: Volume, holder: Holder) -> None:
        self._ask("fence", volume, holder)
