# SPDX-License-Identifier: Apache-2.0
"""Files, links and trees of them: what is there, how it differs, and writing it to stay."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import signal
import stat
from typing import NamedTuple

SECRET_OPTION = re.compile(r"^([^=:]*(?:password|secret|token|key)[^=:]*(?<!_file)(?<!_file )[=:]).*$", re.I)
"""A line of configuration that should not be in it; a secret stands in a file of its own."""


class Entry(NamedTuple):
    """What a path is: a file of this ``mode``, or (``mode`` is None) a link, with its target as ``content``.

    ``ours`` says that it is root's own (or whoever runs this).
    """

    mode: int | None
    content: bytes
    ours: bool = True


class Change(NamedTuple):
    """One path that differs: ``change`` is added, changed or removed; ``diff`` is of configuration."""

    path: str
    change: str
    diff: str = ""


class Done(NamedTuple):
    """What was done: every change, and what else there is to say."""

    changes: list[Change]
    note: str = ""


Tree = dict[str, Entry]
"""Entries by their paths from some directory."""


def link_to(target: str) -> Entry:
    """A link."""
    return Entry(None, os.fsencode(target))


def crash_point(name: str) -> None:
    """Die here if a test said so."""
    if os.environ.get("EXTSTORAGE_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)


def entry_at(path: str) -> Entry | None:
    """What is at ``path``; None if nothing, or neither a file nor a link."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode):
        return link_to(os.readlink(path))
    if not stat.S_ISREG(status.st_mode):
        return None
    ours = (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    return Entry(stat.S_IMODE(status.st_mode), read(path), ours)


def tree_at(directory: str) -> Tree:
    """All files and links below a directory, but what Python compiled."""
    found: Tree = {}
    for parent, directories, files in os.walk(directory):
        links = [name for name in directories if os.path.islink(os.path.join(parent, name))]
        directories[:] = [name for name in directories if name != "__pycache__"]
        for name in files + links:
            path = os.path.join(parent, name)
            entry = entry_at(path)
            if entry is not None:
                found[os.path.relpath(path, directory)] = entry
    return found


def read(path: str) -> bytes:
    """A file's content."""
    with open(path, "rb") as file:
        return file.read()


def write(path: str, entry: Entry) -> None:
    """Make a new file or link whose content survives a power cut (its name: ``sync`` the directory)."""
    if entry.mode is None:
        os.symlink(os.fsdecode(entry.content), path)
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(entry.content)
        file.flush()
        os.fchown(fd, os.geteuid(), os.getegid())
        os.fchmod(fd, entry.mode)
        os.fsync(fd)


def sync(path: str) -> None:
    """Make a file's content, or the names in a directory, survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directories(path: str) -> None:
    """Make a directory and those above it, to stay."""
    if os.path.isdir(path):
        return
    make_directories(os.path.dirname(path))
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o755)
    sync(os.path.dirname(path))


def compare(path: str, old: Entry | None, new: Entry | None, show: bool = False) -> Change | None:
    """How ``path`` differs, with ``show`` line by line; None if it does not."""
    if old == new:
        return None
    change = "added" if old is None else "removed" if new is None else "changed"
    if not show:
        return Change(path, change)
    before, after = (masked(entry) for entry in (old, new))
    names = ("/" + path if old else "/dev/null", "/" + path if new else "/dev/null")
    lines = list(difflib.unified_diff(before, after, *names, lineterm=""))
    if old is not None and new is not None and old.mode != new.mode:
        lines.append(f"mode {old.mode:04o} -> {new.mode:04o}")
    return Change(path, change, "\n".join(lines))


def masked(entry: Entry | None) -> list[str]:
    """The lines of a text, without the secrets that should not be in it."""
    text = entry.content.decode(errors="replace") if entry else ""
    return [SECRET_OPTION.sub(r"\1 ***", line) for line in text.splitlines()]
