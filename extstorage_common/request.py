# SPDX-License-Identifier: Apache-2.0
"""Ganeti's ExtStorage contract: the environment of a script becomes a :class:`Request`.

All that Ganeti says is checked here and nowhere else. The variables are those of
ganeti-extstorage-interface(7), and two that it does not name but Ganeti 3.0 always sets:
``EXTP_PROVIDER`` and ``EXTP_ACCESS``.
"""

from __future__ import annotations

from extstorage_common.errors import BadVariable, MissingVariable, Shrinking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NAME = 128
MAX_METADATA = 4096
MAX_SIZE = (1 << 63) // (1 << 20) - 1
"""The largest size in MiB: what still fits a file offset of 63 bits in bytes."""

VARIABLES: dict[str, tuple[str, ...]] = {
    "create": ("VOL_NAME", "VOL_SIZE"),
    "attach": ("VOL_NAME",),
    "detach": ("VOL_NAME",),
    "remove": ("VOL_NAME",),
    "grow": ("VOL_NAME", "VOL_SIZE", "VOL_NEW_SIZE"),
    "setinfo": ("VOL_NAME", "VOL_METADATA"),
    "snapshot": ("VOL_NAME", "VOL_SNAPSHOT_NAME", "VOL_SNAPSHOT_SIZE"),
    "open": ("VOL_NAME", "VOL_OPEN_EXCLUSIVE"),
    "close": ("VOL_NAME",),
    "verify": (),
}
"""The actions, and what Ganeti must have set for each."""

_ALPHANUMERIC = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_NAME = _ALPHANUMERIC | frozenset("._-")


def is_name(text: str) -> bool:
    """Whether ``text`` can name a volume or a pool: ``[A-Za-z0-9][A-Za-z0-9._-]*``, at most 128."""
    return 0 < len(text) <= MAX_NAME and text[0] in _ALPHANUMERIC and _NAME.issuperset(text)


class Request:
    """One call of one script.

    ``volume`` is ``VOL_NAME`` and ``snapshot`` ``VOL_SNAPSHOT_NAME``; ``size``, ``new_size`` and
    ``snapshot_size`` are in MiB; ``exclusive`` is ``VOL_OPEN_EXCLUSIVE``; ``metadata`` is
    ``VOL_METADATA``. What an action does not carry is empty, 0 or False. ``parameters`` are the
    ``EXTP_*`` in lower case, without Ganeti's own two.
    """

    def __init__(self, action: str, environ: Mapping[str, str]) -> None:
        for variable in VARIABLES[action]:
            if variable not in environ:
                raise MissingVariable(variable=variable)
        self.action = action
        self.volume = self._name(environ, "VOL_NAME")
        self.snapshot = self._name(environ, "VOL_SNAPSHOT_NAME")
        self.size = self._size(environ, "VOL_SIZE")
        self.new_size = self._size(environ, "VOL_NEW_SIZE")
        self.snapshot_size = self._size(environ, "VOL_SNAPSHOT_SIZE")
        self.exclusive = self._flag(environ, "VOL_OPEN_EXCLUSIVE")
        self.metadata = self._metadata(environ)
        self.userspace = environ.get("EXTP_ACCESS") == "userspace"
        self.parameters = {
            name[5:].lower(): value
            for name, value in environ.items()
            if name.startswith("EXTP_") and name not in ("EXTP_PROVIDER", "EXTP_ACCESS")
        }
        if action == "grow" and self.new_size < self.size:
            raise Shrinking(size=self.size, new_size=self.new_size)
        if action == "snapshot" and self.snapshot == self.volume:
            raise BadVariable(
                variable="VOL_SNAPSHOT_NAME", value=self.snapshot, expects="another name than VOL_NAME"
            )

    def _wants(self, variable: str) -> bool:
        """Variables of other actions that leaked into the environment are not looked at."""
        return variable in VARIABLES[self.action]

    def _name(self, environ: Mapping[str, str], variable: str) -> str:
        if not self._wants(variable):
            return ""
        value = environ[variable]
        if not is_name(value):
            expects = f"1 to {MAX_NAME} letters, digits, '.', '_' or '-', beginning with a letter or digit"
            raise BadVariable(variable=variable, value=value[: MAX_NAME + 1], expects=expects)
        return value

    def _size(self, environ: Mapping[str, str], variable: str) -> int:
        if not self._wants(variable):
            return 0
        value = environ[variable]
        # Nothing longer than the largest size is converted: int() of a megabyte of digits takes minutes.
        if value.isascii() and value.isdigit() and len(value) <= 20 and 0 < int(value) <= MAX_SIZE:
            return int(value)
        expects = f"a whole number of MiB from 1 to {MAX_SIZE}"
        raise BadVariable(variable=variable, value=value[:40], expects=expects)

    def _flag(self, environ: Mapping[str, str], variable: str) -> bool:
        if not self._wants(variable):
            return False
        value = environ[variable]
        if value not in ("True", "False"):
            raise BadVariable(variable=variable, value=value[:40], expects="True or False")
        return value == "True"

    def _metadata(self, environ: Mapping[str, str]) -> str:
        if not self._wants("VOL_METADATA"):
            return ""
        value = environ["VOL_METADATA"]
        if len(value) > MAX_METADATA:
            raise BadVariable(
                variable="VOL_METADATA", value=value[:40], expects=f"at most {MAX_METADATA} characters"
            )
        return value
