# SPDX-License-Identifier: Apache-2.0
"""Small files of ``key value`` lines, and how they are written so that nobody sees half of one.

The first line is a title with a version::

    ganeti-extstorage attachment 1
    state attached
    device /dev/loop3

A key may come several times. JSON would cost every call of every script the import of a parser
(10 ms, as much as the interpreter itself).
"""

from __future__ import annotations

import os

from extstorage_common.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "ganeti-extstorage"


class BadRecord(ConfigurationError):
    template = "{path} can't be read as '{title}': it was damaged, or written by a newer version"


class Record:
    """The lines of one file. ``title`` is the kind of record and its version: ``attachment 1``."""

    def __init__(self, title: str, lines: Iterable[tuple[str, str]] = ()) -> None:
        self.title = title
        self.lines = list(lines)

    def all(self, key: str) -> list[str]:
        """The values of every line with this key, in order."""
        return [value for name, value in self.lines if name == key]

    def get(self, key: str, default: str = "") -> str:
        """The value of the first line with this key."""
        return next((value for name, value in self.lines if name == key), default)

    def dump(self) -> bytes:
        """The file's content. A value must not contain a newline (ValueError)."""
        text = f"{PREFIX} {self.title}\n"
        for key, value in self.lines:
            if "\n" in value or "\n" in key:
                raise ValueError(f"a newline in {key!r}: {value!r}")
            text += f"{key} {value}\n"
        return text.encode("utf-8", "surrogateescape")


def read(path: str, title: str) -> Record:
    """The record at ``path``. Raises FileNotFoundError, BadRecord (another title, or cut off)."""
    with open(path, "rb") as file:
        return parse(file.read(), title, path)


def parse(content: bytes, title: str, path: str) -> Record:
    """The record that ``content`` is, which was found at ``path``. Raises BadRecord."""
    text = content.decode("utf-8", "surrogateescape")
    first, *lines = text.split("\n")
    if first != f"{PREFIX} {title}" or lines[-1:] != [""]:
        raise BadRecord(path=path, title=title)
    pairs = [line.partition(" ") for line in lines[:-1]]
    return Record(title, [(key, value) for key, _, value in pairs])


def write(path: str, record: Record, durable: bool = True) -> None:
    """Replace ``path`` by ``record`` in one step; ``durable`` also survives a power cut."""
    write_file(path, record.dump(), durable)


def write_file(path: str, content: bytes, durable: bool = True) -> None:
    """Replace ``path`` by ``content`` in one step; ``durable`` also survives a power cut."""
    temporary = write_beside(path, content, durable)
    try:
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    if durable:
        sync_directory(os.path.dirname(path))


def write_beside(path: str, content: bytes, durable: bool = True) -> str:
    """Write ``content`` to a file of an unused name beside ``path``; returns that name."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.urandom(6).hex()}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(fd)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unlink_if_there(path: str) -> None:
    """Remove a file, which need not exist."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
