# SPDX-License-Identifier: Apache-2.0
"""Making a node have a release, its configuration and the links to it."""

from __future__ import annotations

import contextlib
import os
import py_compile
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from gnt_storage.install.agent.files import (
    Change,
    Done,
    Entry,
    Tree,
    compare,
    crash_point,
    entry_at,
    link_to,
    make_directories,
    sync,
    tree_at,
    write,
)
from gnt_storage.install.agent.node import (
    BASE,
    CONFIG,
    CURRENT,
    FAILED,
    REFUSED,
    SEARCHED,
    SUFFIX,
    TIMED_OUT,
    Node,
    Stop,
)

VERIFY_SECONDS = 120
RETIRED_SECONDS = 3600
"""How long a release is kept after it was replaced: longer than a script may run."""
PATH_VALUE = re.compile(r"(?m)^([^=:\n]*[=:][ \t]*)(/[^\n]*?)(?=[ \t]*$)")
"""A line of configuration whose value is a path."""


class Installing(Node):
    """``tree`` is the release, ``files`` are single files by their paths from the root directory."""

    def __init__(self, root: str, request: Mapping[str, Any], tree: Tree, files: Tree) -> None:
        super().__init__(root, request)
        self.tree = tree
        self.files = files
        self.missing = self._missing_modules()
        self.links = {path: link for path, link in request["links"].items() if self._is_usable(path)}
        self.secrets: list[str] = request["secrets"]

    def run(self) -> Done:
        """Make the node have it all. Raises Stop, OSError."""
        self.refuse_package()
        self._refuse_strangers()
        changes = self.changes()
        if changes and not self.request["dry_run"]:
            self._change()
        missing = " and ".join(f"python3-{name}" for name in self.missing)
        return Done(
            changes, f"without the command and Ganeti's hooks, which need {missing}" if missing else ""
        )

    def _missing_modules(self) -> list[str]:
        """The modules that the command needs, and only the command, and that are not here."""
        find = (
            "import importlib.util, sys; print(*(n for n in sys.argv[1:] if not importlib.util.find_spec(n)))"
        )
        command = ["/usr/bin/python3", "-I", "-c", find, *self.request["command_needs"]]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        return done.stdout.split()

    def _is_usable(self, path: str) -> bool:
        """Whether a link makes sense: a hook that can't run would keep Ganeti from working."""
        return not self.missing or os.path.dirname(path) == SEARCHED

    def _change(self) -> None:
        with self.locked():
            self.discard_debris()
            self._make_log_directories()
            old, release = self.release(), self._provide_release()
            try:
                if self.request["verify"]:
                    self._verify(release)
                crash_point("verified")
                self._switch(old, release)
            except BaseException:
                if release not in (old, self.release()):
                    self.discard(release)
                raise
            self._remove_obsolete()
            self._discard_retired()

    def _refuse_strangers(self) -> None:
        """Raise Stop where a name is taken by what no installation made, or a provider would be lost."""
        for path in self.links:
            if os.path.lexists(self.path(path)) and not self.is_ours(path):
                raise Stop(REFUSED, f"/{path} was not made by gnt-storage install; move it away first")
        for name, directory in self.our_providers().items():
            if not any(path.startswith(f"providers/{directory}/") for path in self.tree):
                raise Stop(REFUSED, f"provider {name} is installed here, which this version does not have")

    # --- what differs -----------------------------------------------------------------------------

    def changes(self) -> list[Change]:
        """What is not as it shall be."""
        current = tree_at(self.path(CURRENT))
        found = [
            compare(f"{CURRENT}/{path}", current.get(path), self.tree.get(path))
            for path in sorted({*current, *self.tree})
        ]
        found += [
            compare(path, entry_at(self.path(path)), entry, show=path not in self.secrets)
            for path, entry in self.files.items()
        ]
        found += [
            compare(path, entry_at(self.path(path)), link_to(target)) for path, target in self.links.items()
        ]
        found += [Change(path, "removed") for path in self._obsolete()]
        found += [Change(path, "added") for path in self._missing_log_directories()]
        return [change for change in found if change is not None]

    def _obsolete(self) -> list[str]:
        """Our links that this version does not have; a provider that is not asked for stays."""
        links = [path for path in self.our_links() if path not in self.links]
        return [path for path in links if os.path.dirname(path) != SEARCHED]

    def _missing_log_directories(self) -> list[str]:
        return [path for path in self.request["log_directories"] if not os.path.isdir(self.path(path))]

    def _make_log_directories(self) -> None:
        """Make where Ganeti keeps what scripts print; it does so nowhere itself."""
        for path in self._missing_log_directories():
            make_directories(os.path.dirname(self.path(path)))
            os.mkdir(self.path(path), 0o750)

    # --- the release ------------------------------------------------------------------------------

    def _provide_release(self) -> str:
        """The name of a complete release with our tree, made unless the one in use is that."""
        if self.release() and tree_at(self.path(CURRENT)) == self.tree:
            return self.release()
        making = self.path(BASE, f".making-{os.urandom(6).hex()}")
        release = self._free_name()
        os.mkdir(making, 0o755)
        try:
            self._fill(making, self.path(BASE, release))
        except BaseException:
            shutil.rmtree(making)
            raise
        os.rename(making, self.path(BASE, release))
        sync(self.path(BASE))
        crash_point("released")
        return release

    def _fill(self, making: str, final: str) -> None:
        """Write the tree into ``making``, compiled for the place where it will be."""
        for path, entry in self.tree.items():
            os.makedirs(os.path.dirname(os.path.join(making, path)), exist_ok=True)
            write(os.path.join(making, path), entry)
        crash_point("unpacked")
        for path in self.tree:
            if path.endswith(".py"):
                source = os.path.join(making, path)
                compiled = py_compile.compile(source, dfile=os.path.join(final, path), doraise=True)
                assert compiled is not None
                sync(compiled)
        for directory, _, _ in os.walk(making):
            sync(directory)
        crash_point("compiled")

    def _free_name(self) -> str:
        """The release's name, with a number if one is here already: changed since, or just replaced."""
        taken, wanted = self.releases(), str(self.request["release"])
        return next(
            name
            for number in range(1, len(taken) + 2)
            if (name := f"{wanted}.{number}" if number > 1 else wanted) not in taken
        )

    # --- the proof --------------------------------------------------------------------------------

    def _verify(self, release: str) -> None:
        """Let the new ``verify`` of every provider look at the new configuration. Raises Stop."""
        staging = self.path(BASE, f".staging-{os.urandom(6).hex()}")
        for directory in ("", "/providers", "/etc", "/secrets"):
            os.mkdir(staging + directory, 0o700)
        try:
            self._stage_configuration(staging)
            crash_point("staged")
            for name, directory in {**self.our_providers(), **self.request["providers"]}.items():
                os.symlink(self.path(BASE, release, "providers", directory), f"{staging}/providers/{name}")
                self._verify_provider(staging, name)
        finally:
            shutil.rmtree(staging)

    def _stage_configuration(self, staging: str) -> None:
        """Put the configuration as it will be into ``staging``, naming the secrets that lie there."""
        places = {"/" + path: f"{staging}/secrets/{number}" for number, path in enumerate(self.secrets)}
        for path, place in places.items():
            write(place, self.files[path[1:]])
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.path(CONFIG)):
                if f"{CONFIG}/{name}" not in self.files:
                    os.symlink(self.path(CONFIG, name), f"{staging}/etc/{name}")
        for path, entry in self.files.items():
            if os.path.dirname(path) == CONFIG and path not in self.secrets:
                text = PATH_VALUE.sub(
                    lambda match: match[1] + places.get(match[2], match[2]), entry.content.decode()
                )
                write(f"{staging}/etc/{os.path.basename(path)}", Entry(0o600, text.encode()))

    def _verify_provider(self, staging: str, name: str) -> None:
        tests = {key: value for key, value in os.environ.items() if key.startswith("EXTSTORAGE_")}
        try:
            done = subprocess.run(
                [f"{staging}/providers/{name}/verify"],
                env={**tests, "PATH": os.defpath, "EXTSTORAGE_CONFIG_DIR": staging + "/etc"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=VERIFY_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Stop(
                TIMED_OUT, f"{name}: verify did not end within {VERIFY_SECONDS} s; nothing was switched"
            ) from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or f"{name}: verify failed without a word"
            said = " ".join(said.replace(staging + "/etc", "/" + CONFIG).split())
            raise Stop(max(done.returncode, FAILED), f"{said}; nothing was switched")

    # --- the switch -------------------------------------------------------------------------------

    def _switch(self, old: str, release: str) -> None:
        """Rename everything into its place: secrets, configuration, the release, links.

        Configuration comes before the library: when it attaches, a library ignores the options that
        it does not know, but one that needs a new option can't do without.
        """
        wanted = {path: self.files[path] for path in self.secrets} | self.files
        wanted[CURRENT] = link_to(release)
        wanted |= {path: link_to(target) for path, target in self.links.items()}
        changed = [path for path, entry in wanted.items() if entry_at(self.path(path)) != entry]
        prepared = []
        try:
            for path in changed:
                prepared.append((self._prepare(path, wanted[path]), path))
        except BaseException:
            self.discard_debris()
            raise
        crash_point("prepared")
        if old and old != release:
            os.utime(self.path(BASE, old))  # from now on it is retired
        for temporary, path in prepared:
            os.rename(temporary, self.path(path))
            sync(os.path.dirname(temporary))
            crash_point("switched." + os.path.basename(path))

    def _prepare(self, path: str, entry: Entry) -> str:
        """Write what shall be at ``path`` beside it; returns that name."""
        directory, name = os.path.split(self.path(path))
        make_directories(directory)
        temporary = os.path.join(directory, f".{name}{SUFFIX}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        write(temporary, entry)
        return temporary

    def _remove_obsolete(self) -> None:
        for path in self._obsolete():
            os.unlink(self.path(path))

    def _discard_retired(self) -> None:
        """Remove the releases that were replaced so long ago that no script can run in them any more."""
        for name in self.releases():
            age = time.time() - os.stat(self.path(BASE, name)).st_mtime
            if name != self.release() and age > RETIRED_SECONDS:
                self.discard(name)
