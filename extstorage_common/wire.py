# SPDX-License-Identifier: Apache-2.0
"""What goes between a node and a controller: lines of JSON.

The controller speaks first, then one answer follows each request, until the node closes::

    {"protocol": 1, "suite": "0.1.0"}
    {"provider": "lvm", "pool": "gold", "parameters": {}, "seconds": 49.9,
     "method": "get_volume", "arguments": ["f7c1.ext.disk0"]}
    {"result": {"~": "Volume", "name": "f7c1.ext.disk0", "size": 1073741824}}

An answer with ``error`` instead of ``result`` is raised again on the node, as the same class with the
same fields. A node sends nothing before it has the greeting, so until then it may simply try again.
"""

from __future__ import annotations

import json

from extstorage_common.backends.base import Holder, Holders, Volume
from extstorage_common.errors import BadRequest, ExtStorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 1
"""Changes when a node and a controller of different versions would misunderstand each other."""
MAX_LINE = 64 << 20
"""Bytes of a line that are read: the names of some hundred thousand volumes."""

KINDS: dict[str, type[Volume | Holder | Holders]] = {
    kind.__name__: kind for kind in (Volume, Holder, Holders)
}
TAG = "~"


class BadMessage(BadRequest):
    template = "what was received is no message of this protocol: {reason}"


class BadArgument(BadRequest):
    """What a controller says to a call that it does not know, of a newer node perhaps."""

    template = "{method} can't be asked for with these arguments"


class QuietNeeded(ExtStorageError):
    """A controller can't go on before the node has made sure that nothing writes to the volume."""

    template = "the volume must be quiet to be copied"


def dump(message: dict[str, Any]) -> bytes:
    """A message as one line."""
    return json.dumps(encode(message), separators=(",", ":")).encode("ascii") + b"\n"


def load(line: bytes) -> dict[str, Any]:
    """The message that a line carries. Raises BadMessage."""
    try:
        message = decode(json.loads(line))
    except (ValueError, TypeError, RecursionError) as error:
        raise BadMessage(reason=error) from error
    if not isinstance(message, dict):
        raise BadMessage(reason="no object")
    return message


def encode(value: Any) -> Any:
    """``value`` in what JSON knows; objects of the contract are tagged with their class."""
    if type(value) in KINDS.values():
        return {TAG: type(value).__name__, **encode(vars(value))}
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode(value: Any) -> Any:
    """The inverse of :func:`encode`, with lists for tuples. Raises TypeError, ValueError."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {key: decode(item) for key, item in value.items() if key != TAG}
    if TAG not in value:
        return fields
    if value[TAG] not in KINDS:
        raise ValueError(f"an object of kind {value[TAG]!r}")
    return KINDS[value[TAG]](**fields)


def encode_error(error: ExtStorageError) -> dict[str, Any]:
    """An error as the fields of a message: its class with those above it, most special first."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, ExtStorageError)]
    fields = {
        key: field if isinstance(field, (str, int, float)) else str(field)
        for key, field in error.fields.items()
    }
    return {"kinds": kinds, "fields": fields, "status": error.status, "sentence": str(error)}


def decode_error(told: dict[str, Any]) -> ExtStorageError:
    """The error again, as the most special of its classes that is known here."""
    known = _subclasses(ExtStorageError)
    kinds: list[str] = told["kinds"]
    kind = next((known[name] for name in kinds if name in known), ExtStorageError)
    error: ExtStorageError
    if kind.__name__ == kinds[0]:
        error = kind(**told["fields"])
        if _has_sentence(error):
            return error
    # One of a newer version, or of a module that is not needed here: of its kind, in its own words.
    error = type(kind.__name__, (kind,), {"template": "{reason}"})(reason=told["sentence"])
    error.status = told["status"]
    return error


def _has_sentence(error: ExtStorageError) -> bool:
    try:
        return bool(str(error))
    except (LookupError, ValueError):
        return False


def _subclasses(kind: type[ExtStorageError]) -> dict[str, type[ExtStorageError]]:
    found = {kind.__name__: kind}
    for child in kind.__subclasses__():
        found |= _subclasses(child)
    return found
