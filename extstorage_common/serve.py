# SPDX-License-Identifier: Apache-2.0
"""The controller's side: requests of one node, each a line of JSON, are done by the pool's backend.

Which node asks, for which cluster, and which pools it may use is told by the arguments of the executable
``controller``, which stand in the line of authorized_keys for that node's key. Nothing in a request
can change them, so no node can speak for another, or touch another pool. ``wire.py`` has the protocol.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from extstorage_common import __version__, calllog, provider, wire
from extstorage_common.backends.base import EXCLUSIVE, SHARED, Holder, Holders, Volume
from extstorage_common.deadline import Deadline
from extstorage_common.errors import BadRequest, ExtStorageError, Refused, Unforeseen, one_line
from extstorage_common.locks import Lock
from extstorage_common.request import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from extstorage_common.backends.base import Backend

    Checker = Callable[[Any], bool]

MAX_REQUEST = 1 << 20
GRACE = 5
"""Seconds after its deadline at which a call that still goes on is ended."""


class PoolForbidden(Refused):
    template = "node {node} may not use pool '{pool}' of provider '{provider}' on this controller"


class SpeaksForAnother(Refused):
    template = "node {node} may not make node {other} a holder"


def main(arguments: Sequence[str]) -> int:
    """``NODE CLUSTER PROVIDER[/POOL]...``: answer what comes on standard input until it ends."""
    names = [part for word in arguments for part in word.split("/") if word != "-"]
    if len(arguments) < 3 or not all(map(is_name, names)):
        sys.stderr.write("usage: controller NODE CLUSTER PROVIDER[/POOL]... (from authorized_keys)\n")
        return BadRequest.status
    node, cluster, *allowed = arguments
    os.environ["EXTSTORAGE_CLUSTER"] = cluster
    os.umask(0o077)
    os.chdir("/")
    answers = os.dup(1)
    os.dup2(2, 1)  # no child of a backend writes into the answers
    try:
        _send(answers, {"protocol": wire.PROTOCOL, "suite": __version__})
        while line := sys.stdin.buffer.readline(MAX_REQUEST):
            _send(answers, _answer(line, node, allowed))
    except BrokenPipeError:
        pass  # the node did not wait
    return 0


def _send(fd: int, message: dict[str, Any]) -> None:
    data = wire.dump(message)
    while data:
        data = data[os.write(fd, data) :]


def _answer(line: bytes, node: str, allowed: Sequence[str]) -> dict[str, Any]:
    """Do one request; what goes wrong is an answer, too."""
    started = time.monotonic()
    call: _Call | None = None
    error: ExtStorageError | None = None
    answer: dict[str, Any]
    try:
        call = _Call(wire.load(line), node, allowed)
        answer = {"result": call.run()}
    except ExtStorageError as raised:
        error = raised
    except Exception as raised:
        if os.environ.get("EXTSTORAGE_DEBUG") == "1":
            sys.excepthook(*sys.exc_info())
        error = Unforeseen(kind=type(raised).__name__, reason=f"{raised} on the controller")
    finally:
        signal.alarm(0)
    if error is not None:
        answer = {"error": wire.encode_error(error)}
    if call is not None:
        call.log(error, time.monotonic() - started)
    return answer


class _Call:
    """One request, understood and allowed. Raises BadRequest, PoolForbidden."""

    def __init__(self, request: dict[str, Any], node: str, allowed: Sequence[str]) -> None:
        try:
            self.provider: str = request["provider"]
            self.pool: str = request["pool"]
            self.parameters: dict[str, str] = request["parameters"]
            self.seconds = min(max(float(request["seconds"]), 0.0), 900.0)
            self.method: str = request["method"]
            self.arguments: list[Any] = request["arguments"]
        except (KeyError, TypeError, ValueError) as error:
            raise wire.BadMessage(reason=f"no request ({error})") from error
        self.node = node
        if not (_name(self.provider) and _name(self.pool) and _texts(self.parameters)):
            raise wire.BadMessage(reason="no request (wrong names)")
        if self.provider not in allowed and f"{self.provider}/{self.pool}" not in allowed:
            raise PoolForbidden(node=node, pool=self.pool, provider=self.provider)
        checkers = METHODS.get(self.method, (_never,))
        right = isinstance(self.arguments, list) and len(self.arguments) == len(checkers)
        if not right or not all(map(_fits, checkers, self.arguments)):
            raise wire.BadArgument(method=one_line(str(self.method))[:40])

    @property
    def volume(self) -> str:
        """The name of the volume that the call is about; ``""`` for one about the pool."""
        first = self.arguments[0] if self.arguments else ""
        if isinstance(first, Volume):
            return first.name
        return str(first) if METHODS[self.method][:1] == (_name,) else ""

    def run(self) -> Any:
        """Call the backend; returns what it does. Raises the errors of ``errors.py``."""
        backend = self._backend()
        signal.alarm(int(backend.deadline.left()) + GRACE)
        if self.method not in CHANGING or not self.volume:
            return self._perform(backend)
        with Lock(f"controller/{self.volume}", f"{self.method} for {self.node}", backend.deadline):
            return self._perform(backend)

    def _backend(self) -> Backend:
        loaded = provider.load(self.provider, self.provider)
        pool = loaded.choose(loaded.pool(self.pool, is_controller=True), self.parameters)
        bulk = loaded.backend.is_bulk(ACTIONS.get(self.method, ""), pool)
        seconds = min(self.seconds, pool["copy_timeout" if bulk else "timeout"])
        return loaded.backend(pool, self.node, Deadline(seconds))

    def _perform(self, backend: Backend) -> Any:
        if self.method == "check":
            return self._check(dict(backend.checks()))
        if self.method == "create_snapshot":
            volume, name, quiet = self.arguments
            return backend.create_snapshot(volume, name, _nothing if quiet else _need_quiet)
        if self.method == "replace_holders":
            self._check_holders(*self.arguments[1:])
        return getattr(backend, self.method)(*self.arguments)

    def _check(self, checks: dict[str, Callable[[], None]]) -> None:
        if self.arguments[0] not in checks:
            raise wire.BadArgument(method=self.method)
        checks[self.arguments[0]]()

    def _check_holders(self, old: Holders, new: Sequence[Holder]) -> None:
        known = [vars(one) for one in old.entries]
        for one in new:
            if one.node != self.node and vars(one) not in known:
                raise SpeaksForAnother(node=self.node, other=one.node)

    def log(self, error: ExtStorageError | None, seconds: float) -> None:
        """One line a request, in the provider's log."""
        words = [self.node, self.method, self.volume or "-", self.pool]
        calllog.write(self.provider, words, error.status if error else 0, seconds, str(error or ""))


def _nothing() -> None:
    pass


def _need_quiet() -> None:
    raise wire.QuietNeeded


# --- what can be asked for, and with what -----------------------------------------------------------


def _fits(checker: Checker, value: Any) -> bool:
    return checker(value)


def _never(value: Any) -> bool:
    return False


def _name(value: Any) -> bool:
    return isinstance(value, str) and is_name(value)


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < MAX_REQUEST


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _volume(value: Any) -> bool:
    return isinstance(value, Volume) and _name(value.name) and _size(value.size)


def _word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) < 256 and value.isprintable() and " " not in value


def _holder(value: Any) -> bool:
    return (
        isinstance(value, Holder)
        and _name(value.node)
        and value.mode in (EXCLUSIVE, SHARED)
        and _word(value.address)
        and _word(value.since)
    )


def _holder_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_holder, value))


def _holders(value: Any) -> bool:
    return (
        isinstance(value, Holders)
        and isinstance(value.version, (int, str))
        and all(map(_holder, value.entries))
    )


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(text, str) and text.isprintable() for key, text in value.items()
    )


METHODS: dict[str, tuple[Checker, ...]] = {
    "prepare_pool": (),
    "pool_uuid": (),
    "capacity": (),
    "check": (_word,),
    "get_volume": (_name,),
    "list_volumes": (),
    "create_volume": (_name, _size),
    "discard_incomplete": (_name,),
    "extend_volume": (_volume, _size),
    "delete_volume": (_volume,),
    "purge_pool": (),
    "create_snapshot": (_volume, _name, _flag),
    "origin": (_volume,),
    "set_metadata": (_volume, _text),
    "describe": (_volume,),
    "connector_of": (_volume,),
    "initialize_connection": (_volume, _texts),
    "note_connected": (_volume, _texts),
    "terminate_connection": (_volume, _texts),
    "attached_nodes": (_volume,),
    "revoke_connection": (_volume, _word),
    "forget_node": (_word, _flag),
    "userspace_uris": (_volume,),
    "read_holders": (_volume,),
    "replace_holders": (_volume, _holders, _holder_list),
    "holder_address": (_volume, _texts),
    "is_alive": (_volume, _holder),
    "fence": (_volume, _holder),
}
"""The methods of a backend that a node may ask for, and what each argument must be."""

CHANGING = frozenset(
    {
        "create_volume",
        "discard_incomplete",
        "extend_volume",
        "delete_volume",
        "create_snapshot",
        "set_metadata",
        "initialize_connection",
        "note_connected",
        "terminate_connection",
        "revoke_connection",
        "replace_holders",
        "fence",
    }
)
"""Those that change a volume, and so are done by one node at a time."""

ACTIONS = {
    "create_volume": "create",
    "extend_volume": "grow",
    "delete_volume": "remove",
    "create_snapshot": "snapshot",
}
"""Ganeti's actions that may copy or write whole volumes (see ``Backend.is_bulk``)."""
