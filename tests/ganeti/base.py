# SPDX-License-Identifier: Apache-2.0
"""The base layer: the packages that every node has, laid over this machine's own root.

Installing them takes most of the time a cluster needs, so the finished layer is kept as a tar in a cache
directory, by default /var/cache/ganeti-extstorage-tests, else what EXTSTORAGE_TEST_CACHE names. Its file name
holds a digest of all that the layer depends on: the packages, the recipe, and what is installed on this
machine, whose root shines through. A cache that cannot be read or written is no cache, nothing worse.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
from pathlib import Path

from tests.ganeti import leftovers
from tests.ganeti.leftovers import ClusterError

RECIPE = Path(__file__).with_name("base-layer")
PACKAGES = (
    # the cluster
    "ganeti", "qemu-system-x86", "openssh-server", "iproute2", "iputils-arping",
    "procps", "socat", "fdisk",
    # what our own package depends on: it is installed in the nodes without a network
    "python3", "python3-click", "python3-rich", "logrotate", "e2fsprogs", "util-linux",
)  # fmt: skip
# Of this machine nothing is seen there: its own Ganeti and data, programs that are not from packages.
HIDDEN = (
    *("etc/ganeti", "etc/iscsi", "var/lib/ganeti", "var/log/ganeti", "var/lib/ganeti-extstorage"),
    *("var/log/ganeti-extstorage", "home", "opt", "root", "srv", "usr/local"),
)
log = logging.getLogger(__name__)


def provide(directory: Path) -> None:
    """Make the base layer of the cluster in ``directory``, from the cache if that is possible.

    Raises ClusterError with the last lines of apt's output.
    """
    (directory / "base").mkdir()
    cached = cache_file()
    if _unpack(cached, directory):
        log.info("base layer from %s", cached)
        return
    _build(directory)
    log.info("base layer built")
    _pack(directory, cached)


def cache_file() -> Path:
    """Where the layer for this very machine and recipe is cached."""
    installed = Path("/var/lib/dpkg/status").read_bytes()
    parts = (RECIPE.read_bytes(), " ".join((*PACKAGES, *HIDDEN)).encode(), installed)
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    cache = os.environ.get("EXTSTORAGE_TEST_CACHE", "/var/cache/ganeti-extstorage-tests")
    return Path(cache) / f"base-{digest[:24]}.tar"


def _build(directory: Path) -> None:
    """Run the recipe. Its namespaces end with it, however it ends."""
    for part in ("/usr", "/etc", "/var", "/var/lib"):
        if os.path.ismount(part):
            raise ClusterError(f"{part} is a file system of its own: the nodes could not see it")
    upper = directory / "base" / "upper"
    for part in HIDDEN:
        (upper / part).mkdir(parents=True)
        os.setxattr(upper / part, "trusted.overlay.opaque", b"y")
    namespaces = ["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"]
    done = subprocess.run(
        [*namespaces, str(RECIPE), str(directory), *PACKAGES],
        env=leftovers.environment(directory), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ClusterError("no base layer:\n" + "\n".join(done.stdout.splitlines()[-20:]))


def _tar(directory: Path, action: str, archive: Path) -> bool:
    """Run tar on the layer; it keeps the attributes by which an overlay hides what is below."""
    upper = directory / "base" / "upper"
    upper.mkdir(exist_ok=True)
    options = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-C", str(upper)]
    done = subprocess.run(
        ["tar", action, "-f", str(archive), *options, *(["."] if action == "--create" else [])],
        env=leftovers.environment(directory), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        log.warning("no cache: %s", done.stderr.strip())
    return done.returncode == 0


def _unpack(cached: Path, directory: Path) -> bool:
    if not os.access(cached, os.R_OK):
        return False
    if _tar(directory, "--extract", cached):
        return True
    shutil.rmtree(directory / "base" / "upper")
    return False


def _pack(directory: Path, cached: Path) -> None:
    """Write the cache file in one step and drop those it replaces."""
    unfinished = cached.with_suffix(f".{os.getpid()}")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        unfinished.touch(mode=0o600)  # host keys are in it
        if _tar(directory, "--create", unfinished):
            unfinished.replace(cached)
            for old in cached.parent.glob("base-*"):
                if old != cached:
                    old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("no cache: %s", error)
    finally:
        if unfinished.exists():
            unfinished.unlink()
