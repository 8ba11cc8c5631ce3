# SPDX-License-Identifier: Apache-2.0
"""Layers: what installing packages changes, to be laid over this machine's own root, which stays as it is.

Making one takes long, so it is kept as a tar in a cache directory, by default
/var/cache/ganeti-extstorage-tests, else what EXTSTORAGE_TEST_CACHE names. Its file name holds a digest of all
that it depends on: the packages, the recipe, and what is installed on this machine, whose root shines
through. A cache that cannot be written is no cache, nothing worse.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests import machines
from tests.machines import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIGITS = 24
BUILD = Path(__file__).with_name("layer-build")
log = logging.getLogger(__name__)


def cache_directory() -> Path:
    """Where tests keep what takes long to make."""
    return Path(os.environ.get("EXTSTORAGE_TEST_CACHE", "/var/cache/ganeti-extstorage-tests"))


class Layer:
    """The layer ``name`` of these packages; ``recipe`` is a program that finishes it (see layer-build)."""

    def __init__(self, name: str, packages: Sequence[str], recipe: Path) -> None:
        self.name = name
        self.packages = packages
        self.recipe = recipe

    @property
    def cache_file(self) -> Path:
        """Where the layer for this very machine is cached."""
        installed = Path("/var/lib/dpkg/status").read_bytes()
        parts = (BUILD.read_bytes(), self.recipe.read_bytes(), " ".join(self.packages).encode(), installed)
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
        return cache_directory() / f"{self.name}-{digest[:DIGITS]}.tar"

    @contextlib.contextmanager
    def archive(self, mark: str) -> Iterator[Path]:
        """The layer as a tar, from the cache or made anew. Raises MachineError with apt's last lines.

        ``mark`` marks the processes that make it.
        """
        cached = self.cache_file
        if os.access(cached, os.R_OK):
            yield cached
            return
        with tempfile.TemporaryDirectory(prefix="layer-", dir=_writable(cached.parent)) as directory:
            made = Path(directory) / cached.name
            self._build(made, mark)
            log.info("layer %s made", self.name)
            yield self._keep(made, cached)

    def _build(self, archive: Path, mark: str) -> None:
        """Run layer-build. Its namespaces end with it, however it ends."""
        for part in ("/usr", "/etc", "/var", "/var/lib"):
            if os.path.ismount(part):
                raise MachineError(f"{part} is a file system of its own: a layer could not see it")
        scratch = archive.parent / "scratch"
        scratch.mkdir()
        archive.touch(mode=0o600)  # host keys are in it
        namespaces = ["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"]
        done = subprocess.run(
            [*namespaces, str(BUILD), str(archive), str(scratch), str(self.recipe), *self.packages],
            env=machines.environment(mark), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise MachineError(f"no layer {self.name}:\n" + "\n".join(done.stdout.splitlines()[-20:]))

    def _keep(self, made: Path, cached: Path) -> Path:
        """Move a new layer to the cache, in one step, and drop those it replaces."""
        if made.parent.parent != cached.parent:
            log.warning("no cache: %s can't be written", cached.parent)
            return made
        made.replace(cached)
        digest = "[0-9a-f]" * DIGITS
        for old in cached.parent.glob(f"{self.name}-{digest}.tar"):
            if old != cached:
                old.unlink(missing_ok=True)
        return cached


def _writable(directory: Path) -> Path | None:
    """The directory, made if need be; None if it can't be written."""
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
    return directory if os.access(directory, os.W_OK) else None
