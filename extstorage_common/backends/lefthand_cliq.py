# SPDX-License-Identifier: Apache-2.0
"""CLIQ, the command line of HP LeftHand and StoreVirtual arrays: an answer in XML to each command.

A command is ``verb parameter=value ...``. There is no shell at the other end, but blanks end a value, double
quotes keep them in it, and a semicolon splits a value in two, quoted or not. So values may have only a few
characters; any other is refused here and never sent.

Only the ``result`` in the answer says how a command ended: the exit status reflects it, but is 1 to 8 for
several kinds of success, and may be missing. Most errors have no result of their own; their words tell
them apart.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from extstorage_common.errors import (
    BadRequest,
    Busy,
    Exists,
    ExtStorageError,
    NotFound,
    Refused,
    StorageFull,
    Unreachable,
)
from extstorage_common.transports import ssh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

PORT = 16022
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:,/@+%-]*", re.ASCII)
WITH_BLANKS = re.compile(r"[A-Za-z0-9 ._:,/@+%-]*", re.ASCII)
FIRST_ERROR = 0x80000000
PENDING, ABANDONED, NOTHING_FOUND = 2, 3, 4
NOT_FOUND_NAMES = re.compile(r"Cliq(Volume|Snapshot|Server|Object)NotFound|CliqNothingFound")
NOT_FOUND_WORDS = re.compile(r"(volume|snapshot|server) '(?P<name>[^']*)' (was )?not found\.?", re.IGNORECASE)
SECRETS = ("targetSecret", "initiatorSecret")


class CannotBeSaid(BadRequest):
    template = "'{value}' can't be given to the array as {parameter}: its command line has no way to say it"


class NotCliq(Unreachable):
    template = "the array answered {verb} with something other than CLIQ's XML ({reason})"


class CliqRefused(Refused):
    template = "the array refused {verb}: {reason} ({result})"


class CliqPending(Busy):
    template = "the array has begun {verb} and not finished it; look at it there, then try again"


class NotThere(NotFound):
    """The array says that a volume, a snapshot or a server is not there."""

    template = "the array has no such thing: {reason}"


class AlreadyThere(Exists):
    """The array says that a name is taken."""

    template = "the array refused {verb}: {reason}"


class InUse(Busy):
    template = "the array refused {verb} since it is in use: {reason}"


class IsClonePoint(Busy):
    """A snapshot of which volumes were made."""

    template = "the array refused {verb}: {reason}"


class HasSnapshots(Busy):
    template = "the array refused {verb}: {reason}"


WORDS: tuple[tuple[str, type[ExtStorageError]], ...] = (
    ("already exists", AlreadyThere),
    ("clone point", IsClonePoint),
    ("in use", InUse),
    ("connected", InUse),
    ("session", InUse),
)
"""What an error is, by words in its description; the first that fits counts."""
NO_ROOM = ("enough space", "insufficient space", "out of space", "enough free space")


class Response:
    """An answer that is a success; ``element`` is its ``<response>``."""

    def __init__(self, element: ElementTree.Element, result: int) -> None:
        self.element = element
        self.result = result

    def all(self, kind: str) -> list[ElementTree.Element]:
        """The things of a kind that it tells of."""
        return self.element.findall(kind)


class Cliq:
    """The command line of the array that a pool names."""

    def __init__(self, pool: Pool, deadline: Deadline) -> None:
        self.shell = ssh.shell_of_call(pool, deadline, asks=True)

    def run(self, verb: str, **parameters: str) -> Response:
        """Run a command; questions that it would ask are answered beforehand.

        A command whose answer was lost is given once more, so whoever makes something must expect
        AlreadyThere for what is its own. Raises NotThere, AlreadyThere, InUse, IsClonePoint, HasSnapshots,
        NoSpace, CliqPending, CliqRefused, Unreachable, TimedOut.
        """
        line = command_line(verb, parameters)
        secrets = [value for name, value in parameters.items() if name in SECRETS]
        try:
            answer = self.shell.run(line, verb, secrets=secrets, secrets_in=secrets_in)
        except ssh.AnswerLost:
            answer = self.shell.run(line, verb, secrets=secrets, secrets_in=secrets_in)
        return parse(verb, answer.stdout, answer.status)

    def is_there(self, verb: str, **parameters: str) -> bool:
        """Whether a query finds what it asks for. Raises what :meth:`run` does but NotThere."""
        try:
            self.run(verb, **parameters)
        except NotThere:
            return False
        return True

    def remove(self, verb: str, **parameters: str) -> None:
        """Run a command that deletes what need not be there."""
        try:
            self.run(verb, **parameters, prompt="false")
        except NotThere:
            pass


def secrets_in(output: bytes) -> list[str]:
    """The secrets in an answer, where the array tells them in clear."""
    found = re.findall(rb'(?:%s)="([^"]+)"' % "|".join(SECRETS).encode(), output)
    return [one.decode("utf-8", "replace") for one in found]


def command_line(verb: str, parameters: dict[str, str]) -> str:
    """A command with every value as one word of the array's. Raises CannotBeSaid."""
    words = [f"{name}={quoted(name, value)}" for name, value in parameters.items()]
    return " ".join([verb, *words, "output=XML"])


def quoted(parameter: str, value: str) -> str:
    """A value as CLIQ reads it again. Raises CannotBeSaid."""
    if PLAIN.fullmatch(value):
        return value
    if WITH_BLANKS.fullmatch(value):
        return f'"{value}"'
    raise CannotBeSaid(parameter=parameter, value=ascii(value)[1:-1])


def parse(verb: str, output: bytes, status: int | None) -> Response:
    """The answer within what was printed, whatever else that is. Raises the error that it tells of."""
    begin, end = output.find(b"<gauche"), output.rfind(b"</gauche>")
    try:
        # Without the XML prologue: these bytes are UTF-8, whatever encoding it names.
        root = ElementTree.fromstring(output[begin : end + len(b"</gauche>")] if begin >= 0 <= end else b"")
        element = root.find("response")
        assert element is not None
        result = number(element.get("result", ""))
    except (ElementTree.ParseError, AssertionError, ValueError):
        said = output.partition(b"<")[0].decode("ascii", "replace").strip()[:100] or "no XML"
        raise NotCliq(verb=verb, reason=f"{said}; exit status {status}") from None
    if result >= FIRST_ERROR or result in (PENDING, ABANDONED, NOTHING_FOUND):
        raise failure(verb, result, element.get("name", ""), element.get("description", ""))
    return Response(element, result)


def number(text: str) -> int:
    """A result: errors are eight hexadecimal digits, some of which look decimal. Raises ValueError."""
    return int(text, 16 if len(text) == 8 else 10)


def failure(verb: str, result: int, name: str, words: str) -> ExtStorageError:
    """What an answer says went wrong, as one of our errors."""
    code = name or f"{result:x}"
    if result == PENDING:
        return CliqPending(verb=verb)
    if result == NOTHING_FOUND or NOT_FOUND_NAMES.fullmatch(name) or NOT_FOUND_WORDS.fullmatch(words):
        return NotThere(reason=words or code)
    lower = words.lower()
    for sign, kind in WORDS:
        if sign in lower:
            return kind(verb=verb, reason=words)
    if verb == "deleteVolume" and "snapshot" in lower:
        return HasSnapshots(verb=verb, reason=words)
    if any(sign in lower for sign in NO_ROOM):
        return StorageFull(what=verb, reason=words)
    return CliqRefused(verb=verb, reason=words or "without a word", result=code)


def attributes(response: Response, kind: str) -> dict[str, str]:
    """What is told of the only thing of a kind. Raises NotThere if it tells of none."""
    found = response.all(kind)
    if len(found) != 1:
        raise NotThere(reason=f"{len(found)} times <{kind}> in the answer")
    return dict(found[0].attrib)
