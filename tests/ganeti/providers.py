# SPDX-License-Identifier: Apache-2.0
"""Our providers on the cluster's nodes: what they leave there and at the storage, and how to break them.

A further provider joins the matrix of ``docs/ganeti.rst`` as a subclass of :class:`Provider`, added to
``PROVIDERS``.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

from tests.ganeti import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ganeti.cluster import Cluster
    from tests.ganeti.namespace_cluster import NamespaceCluster
    from tests.ganeti.nodes import Node

INSTALLED = "/usr/share/ganeti/extstorage"
LOCAL = "/usr/local/lib/ganeti/extstorage"
"""Where an administrator's own providers are; what is here wins over what is installed."""
RUN = "/run/ganeti-extstorage"
LINKS = "/dev/ganeti-extstorage"

# All that our scripts keep on a node, a line each: volumes with a record and with a link that leads to a
# device, and whatever should not be there after a call.
STATE = f"""
ls {RUN}/attachments 2>/dev/null | sed 's/^/record /'
for link in $(ls -A {LINKS}); do
    if [ -b {LINKS}/$link ]; then echo "link $link"; else echo "wrong: link without device: $link"; fi
done
for record in $(grep -L '^state attached$' {RUN}/attachments/* 2>/dev/null); do
    echo "wrong: unfinished $record"
done
for lock in $(ls {RUN}/locks 2>/dev/null); do
    flock --nonblock {RUN}/locks/$lock true || echo "wrong: held lock $lock"
done
"""


class Provider(ABC):
    """One provider; ``other``, if not empty, is the same under another name, with a pool of its own."""

    name: ClassVar[str]
    other: ClassVar[str]
    half_made: ClassVar[str]
    """The crash point at which a volume is half-made."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def install(self, package: Path) -> None:
        """Install our package on all nodes, and configure the provider and the other one."""
        self.cluster.on_all(lambda node: self._install_on(node, package))
        self.configure()
        self.make_pools()

    def _install_on(self, node: Node, package: Path) -> None:
        node.install(package)
        node.run(f"mkdir -p {LOCAL}")
        if self.other:
            node.run(f"ln -sfn {INSTALLED}/{self.name} {LOCAL}/{self.other}")

    @property
    def names(self) -> list[str]:
        """Its name, and that of the other one."""
        return [name for name in (self.name, self.other) if name]

    def configure(self, options: str = "") -> None:
        """Write the configuration of both on all nodes; ``options`` are more lines for the first."""
        for name in self.names:
            text = f"[gold]\n{self.pool_options(name)}{options if name == self.name else ''}\n"
            path = f"/etc/ganeti/extstorage/{name}.conf"
            self.cluster.on_all(lambda node, path=path, text=text: node.put(path, text))  # type: ignore[misc]

    def uninstall(self) -> None:
        """Leave the nodes as they were."""
        self.mend()
        self.clear()
        left = f"{LOCAL} /etc/ganeti/extstorage {RUN}"
        self.cluster.on_all(lambda node: node.run(f"dpkg --purge ganeti-extstorage; rm -rf {left}"))
        self.forget_pools()

    def mend(self) -> None:
        """Undo whatever a test that failed has broken."""
        self.cluster.on_all(lambda node: node.run(f"rm -rf {LOCAL}/{self.name}"))
        self.bring_back()
        self.configure()

    def clear(self) -> None:
        """Remove all volumes, attached or not."""
        for node in self.cluster.nodes:
            for volume in node.run(f"ls {RUN}/attachments", check=False).stdout.split():
                node.run(self.script("detach", volume), check=False)
        self.empty_pools()

    def script(self, action: str, volume: str, variables: str = "") -> str:
        """The shell command line with which a person calls a script."""
        return f"cd / && VOL_NAME={volume} {variables} {INSTALLED}/{self.name}/{action}"

    def by_hand(self, action: str, volume: str) -> str:
        """The shell command line with which a person acts on a volume by our own command."""
        return (
            f"gnt-storage volume {action}{' --yes --despite-ganeti' if action == 'remove' else ''} {volume}"
        )

    # --- the storage ------------------------------------------------------------------------------

    def make_pools(self) -> None:
        """Prepare the pools."""
        for name in self.names:
            self.cluster.master.run(f"gnt-storage pool init {name}")

    @abstractmethod
    def pool_options(self, name: str) -> str:
        """The lines that configure the pool of the provider ``name``."""

    @abstractmethod
    def volumes(self, name: str = "") -> list[str]:
        """All in the pool (of the provider ``name``): volumes, and what else should not be there."""

    @abstractmethod
    def holders(self, volume: str, name: str = "") -> dict[str, str]:
        """The nodes that hold a volume, and how."""

    @abstractmethod
    def is_fenced(self, node: Node, volume: str) -> None:
        """Check that the storage serves the node that volume no more, where the storage can do that."""

    @abstractmethod
    def devices(self) -> int:
        """How many devices of the pools' volumes there are, on all nodes together."""

    @abstractmethod
    def empty_pools(self) -> None:
        """Delete all volumes."""

    @abstractmethod
    def forget_pools(self) -> None:
        """Delete the pools."""

    # --- the storage, on a bad day: for those rows only that have one -------------------------------

    def stray_device(self, node: Node, volume: str) -> contextlib.AbstractContextManager[None]:
        """Let a node have one more device of a volume, which nobody knows of, for a while."""
        raise NotImplementedError

    def take_away(self) -> None:
        """Let the storage be unreachable from every node, until ``bring_back``."""
        raise NotImplementedError

    def hang(self) -> None:
        """Let every call that asks the storage sleep, until ``bring_back``."""
        raise NotImplementedError

    def bring_back(self) -> None:  # noqa: B027 - nothing to undo
        """Undo :meth:`take_away` and :meth:`hang`."""

    def overwrite(self, volume: str, text: str) -> None:
        """Write into a volume at the storage, behind everybody's back."""
        raise NotImplementedError

    # --- the nodes --------------------------------------------------------------------------------

    def attached(self) -> dict[str, list[str]]:
        """The volumes that each running node has a device, a link and a record of; only nodes that have any.

        Raises AssertionError if a node has anything half, or a held lock.
        """
        nodes = [node for node in self.cluster.nodes if node.running]
        with ThreadPoolExecutor(len(nodes)) as pool:
            told = pool.map(lambda node: node.run(STATE, check=False).stdout.splitlines(), nodes)
        found = {}
        for node, lines in zip(nodes, told, strict=True):
            records = [line.removeprefix("record ") for line in lines if line.startswith("record ")]
            links = [line.removeprefix("link ") for line in lines if line.startswith("link ")]
            assert lines == [f"record {name}" for name in records] + [f"link {name}" for name in links]
            assert records == links, f"{node.name}: records {records}, links {links}"
            if links:
                found[node.name] = links
        return found

    # --- breaking and mending ---------------------------------------------------------------------

    @contextlib.contextmanager
    def broken(self, node: Node, **scripts: str) -> Iterator[None]:
        """Let scripts on one node be others for a while: lines of shell, ``$real`` calls the real one."""
        own = f"{LOCAL}/{self.name}"
        node.run(f"mkdir {own} && ln -s {INSTALLED}/{self.name}/* {own}")
        for action, lines in scripts.items():
            node.run(f"rm {own}/{action}")
            text = f"#!/bin/sh\nreal={INSTALLED}/{self.name}/{action}\n{lines}\n"
            node.put(f"{own}/{action}", text, mode=0o755)
        try:
            yield
        finally:
            node.run(f"rm -r {own}")

    def failing(self, node: Node, action: str, when: str = "true") -> contextlib.AbstractContextManager[None]:
        """Let one script fail on one node for a while, as long as the shell finds that ``when`` is so."""
        said = f"{self.name}: {action} failed on purpose"
        return self.broken(node, **{action: f'if {when}; then echo "{said}" >&2; exit 9; fi\nexec $real'})


class FileProvider(Provider):
    """The provider ``file`` on a directory that all nodes share."""

    cluster: NamespaceCluster
    name = "file"
    other = "file2"
    half_made = "file.made"
    pool = "/srv/shared/pool"
    marker = ".ganeti-extstorage-pool"

    def pool_options(self, name: str) -> str:
        return f"directory = {self.pool}-{name}\n"

    def volumes(self, name: str = "") -> list[str]:
        directory = f"{self.pool}-{name or self.name}"
        listed = self.cluster.master.run(f"[ ! -d {directory} ] || ls -A {directory}").stdout.split()
        return [entry for entry in listed if entry != self.marker]

    def holders(self, volume: str, name: str = "") -> dict[str, str]:
        lines = self.cluster.master.run(
            f"cat {self.pool}-{name or self.name}/{volume}/holders-* 2>/dev/null", check=False
        ).stdout.splitlines()
        words = [line.split() for line in lines if line.startswith("holder ")]
        return {node: mode for _, node, mode, *_ in words}

    def is_fenced(self, node: Node, volume: str) -> None:
        """A file can't be kept from a node."""

    def devices(self) -> int:
        """Loop devices belong to the kernel: those of another cluster on this machine do not count."""
        shared = leftovers.filesystem(self.cluster.directory / "shared")
        return len(
            [loop for loop in leftovers.loops() if loop.filesystem == shared and self.pool in loop.file]
        )

    @contextlib.contextmanager
    def stray_device(self, node: Node, volume: str) -> Iterator[None]:
        disk = f"{self.pool}-{self.name}/{volume}/disk"
        device = node.run(f"losetup --find --show {disk}").stdout.strip()
        yield
        node.run(f"losetup --detach {device}")

    def take_away(self) -> None:
        """As an unmounted share is: the directory is there, and empty."""
        pool = f"{self.pool}-{self.name}"
        self.cluster.master.run(f"mv {pool} {self.pool}.away && mkdir {pool}")

    def hang(self) -> None:
        """With a FIFO in the marker's place: whoever opens it sleeps, as before a dead server."""
        marker = f"{self.pool}-{self.name}/{self.marker}"
        self.cluster.master.run(f"mv {marker} {marker}.away && mkfifo {marker}")

    def bring_back(self) -> None:
        """A pool that has timed out is left alone for some seconds; those are over then."""
        pool = f"{self.pool}-{self.name}"
        self.cluster.master.run(
            f"if [ -d {self.pool}.away ]; then rmdir {pool} && mv {self.pool}.away {pool}; fi;"
            f"cd {pool} && if [ -e {self.marker}.away ]; then mv {self.marker}.away {self.marker}; fi"
        )
        self.cluster.on_all(lambda node: node.run(f"touch -c -d '1 minute ago' {RUN}/timed-out/*"))

    def overwrite(self, volume: str, text: str) -> None:
        disk = f"{self.pool}-{self.name}/{volume}/disk"
        self.cluster.master.run(f"dd of={disk} bs=1M seek=2 conv=notrunc,fsync status=none", input=text)

    def empty_pools(self) -> None:
        self.cluster.master.run(f"rm -rf {self.pool}-*/[0-9a-z]* {self.pool}-*/.making-*")

    def forget_pools(self) -> None:
        self.cluster.master.run(f"rm -rf {self.pool}-*")


PROVIDERS: list[type[Provider]] = [FileProvider]
