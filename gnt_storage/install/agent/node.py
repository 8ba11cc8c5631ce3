# SPDX-License-Identifier: Apache-2.0
"""A node, and what of an installation is there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from gnt_storage.install.agent.files import entry_at, make_directories

BASE = "usr/local/lib/ganeti-extstorage"
CURRENT = BASE + "/current"
SEARCHED = "usr/local/lib/ganeti/extstorage"
CONFIG = "etc/ganeti/extstorage"
HOOKS = "etc/ganeti/hooks"
COMMANDS = "usr/local/sbin"
RECORDS = "run/ganeti-extstorage/attachments"
PACKAGE = "ganeti-extstorage"
OURS = "/ganeti-extstorage/current/"
"""In the target of every link that an installation makes, which are relative ones."""
SUFFIX = ".gnt-storage-new"
"""Ends the names of what waits beside its place."""

FAILED, UNFIT, BUSY, REFUSED, TIMED_OUT, NO_SPACE = 1, 3, 6, 9, 10, 11
"""Exit statuses of the suite (see ``errors.py``)."""


class Stop(Exception):
    """The node is left as it is; the text says why, ``status`` is an exit status of the suite."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Node:
    """This node, below the directory ``root``; ``request`` is what is asked for."""

    def __init__(self, root: str, request: Mapping[str, Any]) -> None:
        self.root = root
        self.request = request

    def path(self, *parts: str) -> str:
        """Where something is, said relative to the root directory."""
        return os.path.join(self.root, *parts)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other agents out. Raises Stop."""
        make_directories(self.path(BASE))
        fd = os.open(self.path(BASE), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Stop(BUSY, "another installation is at work here; try again") from None
            yield
        finally:
            os.close(fd)

    def refuse_package(self) -> None:
        """Raise Stop where the Debian package is installed: what lies in /usr/local shadows its providers."""
        query = ["dpkg-query", f"--admindir={self.path('var/lib/dpkg')}", "-W", "-f=${db:Status-Status}"]
        try:
            done = subprocess.run(
                [*query, PACKAGE], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
        except FileNotFoundError:
            return
        if done.returncode == 0 and done.stdout not in ("not-installed", "config-files"):
            reason = (
                f"the Debian package {PACKAGE} is installed here, and this command would shadow or miss it"
            )
            raise Stop(REFUSED, f"{reason}; use apt, or remove the package first")

    def is_ours(self, path: str) -> bool:
        """Whether ``path`` is a link that an installation made."""
        return os.path.islink(self.path(path)) and OURS in os.readlink(self.path(path))

    def our_links(self) -> list[str]:
        """Every link that an installation made."""
        found = []
        for parent in (SEARCHED, COMMANDS, *self._hook_directories()):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found += [f"{parent}/{name}" for name in sorted(os.listdir(self.path(parent)))]
        return [path for path in found if not path.endswith(SUFFIX) and self.is_ours(path)]

    def _hook_directories(self) -> list[str]:
        try:
            return [f"{HOOKS}/{name}" for name in sorted(os.listdir(self.path(HOOKS)))]
        except FileNotFoundError:
            return []

    def our_providers(self) -> dict[str, str]:
        """The names of the providers that an installation put here, and the directory of each."""
        links = [path for path in self.our_links() if os.path.dirname(path) == SEARCHED]
        return {os.path.basename(path): os.path.basename(os.readlink(self.path(path))) for path in links}

    def release(self) -> str:
        """The release in use; ``""`` if none."""
        entry = entry_at(self.path(CURRENT))
        return os.fsdecode(entry.content) if entry is not None and entry.mode is None else ""

    def releases(self) -> list[str]:
        """Every release that is here, and the half-made ones (their names begin with a dot)."""
        with os.scandir(self.path(BASE)) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def discard(self, name: str) -> None:
        """Remove a release; its name is free at once."""
        debris = self.path(BASE, f".debris-{os.urandom(6).hex()}")
        os.rename(self.path(BASE, name), debris)
        shutil.rmtree(debris)

    def discard_debris(self) -> None:
        """Remove what killed agents left."""
        for name in self.releases():
            if name.startswith("."):
                shutil.rmtree(self.path(BASE, name))
        for parent in (BASE, CONFIG, SEARCHED, COMMANDS, *self._hook_directories()):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for name in os.listdir(self.path(parent)):
                    if name.endswith(SUFFIX):
                        os.unlink(self.path(parent, name))
