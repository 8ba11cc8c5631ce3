# SPDX-License-Identifier: Apache-2.0
"""Taking providers off a node; with the last one the library, too."""

from __future__ import annotations

import contextlib
import os
import shutil

from gnt_storage.install.agent.files import Change, Done, crash_point, entry_at, read
from gnt_storage.install.agent.node import BASE, BUSY, CONFIG, CURRENT, RECORDS, REFUSED, SEARCHED, Node, Stop


class Uninstalling(Node):
    """The request names ``providers`` and, of the last one, ``files``; ``config`` takes theirs, too."""

    def run(self) -> Done:
        """Remove what is asked for. Raises Stop, OSError."""
        self.refuse_package()
        for name in self.request["providers"]:
            self._refuse_use(name)
        paths = self._paths()
        changes = [Change(path, "removed") for path in paths]
        if self.request["dry_run"] or not changes:
            return Done(changes)
        with self.locked():
            self.discard_debris()
            for path in paths:
                self._remove(path)
                crash_point("removed." + os.path.basename(path))
        for directory in (BASE, SEARCHED, os.path.dirname(SEARCHED), CONFIG):
            with contextlib.suppress(OSError):  # not empty, or not there
                os.rmdir(self.path(directory))
        return Done(changes)

    # --- who uses it ------------------------------------------------------------------------------

    def _refuse_use(self, name: str) -> None:
        link = f"{SEARCHED}/{name}"
        if os.path.lexists(self.path(link)) and not self.is_ours(link):
            raise Stop(REFUSED, f"/{link} was not made by gnt-storage install, so it is left alone")
        if volumes := self._attached(name):
            named = ", ".join(volumes[:3]) + (", ..." if len(volumes) > 3 else "")
            raise Stop(BUSY, f"volumes of {name} are attached here ({named}); stop their instances first")
        if processes := self._running(name):
            raise Stop(BUSY, f"a script of {name} is running here (process {processes[0]}); try again")

    def _attached(self, name: str) -> list[str]:
        """The volumes of this provider for which this node has a record."""
        try:
            volumes = sorted(os.listdir(self.path(RECORDS)))
        except FileNotFoundError:
            return []
        line = f"provider {name}".encode()
        records = {volume: entry_at(self.path(RECORDS, volume)) for volume in volumes}
        return [volume for volume, entry in records.items() if entry and line in entry.content.split(b"\n")]

    def _running(self, name: str) -> list[str]:
        """The processes that are scripts of this provider."""
        script = os.fsencode(self.path(SEARCHED, name)) + b"/"
        found = []
        for process in os.listdir("/proc"):
            with contextlib.suppress(OSError):  # it has just ended
                if process.isdigit() and any(
                    word.startswith(script) for word in read(f"/proc/{process}/cmdline").split(b"\0")
                ):
                    found.append(process)
        return found

    # --- what goes --------------------------------------------------------------------------------

    def _paths(self) -> list[str]:
        """What is to be removed, in order: what Ganeti would call comes first."""
        names = self.request["providers"]
        paths = [path for name in names if self.is_ours(path := f"{SEARCHED}/{name}")]
        if os.path.lexists(self.path(BASE)) and not set(self.our_providers()) - set(names):
            paths += [path for path in self.our_links() if path not in paths]
            paths += [*self.request["files"], BASE]
        if self.request["config"]:
            configuration = [f"{CONFIG}/{name}.conf" for name in names]
            paths += [*self._secrets(configuration), *configuration]
        return [path for path in paths if os.path.lexists(self.path(path))]

    def _secrets(self, configuration: list[str]) -> list[str]:
        """The files beside the configuration that these files name, and no other does."""
        named: set[str] = set()
        kept: set[str] = set()
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.path(CONFIG)):
                if name.endswith(".conf"):
                    path = f"{CONFIG}/{name}"
                    words = read(self.path(path)).decode(errors="replace").replace("=", " ").split()
                    (named if path in configuration else kept).update(words)
        beside = [word[1:] for word in named - kept if word.startswith(f"/{CONFIG}/")]
        return sorted(path for path in beside if not path.endswith(".conf"))

    def _remove(self, path: str) -> None:
        if path != BASE:
            os.unlink(self.path(path))
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(CURRENT))
        for name in self.releases():
            shutil.rmtree(self.path(BASE, name))
