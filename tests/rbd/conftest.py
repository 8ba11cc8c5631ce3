# SPDX-License-Identifier: Apache-2.0
"""Nodes of the ``rbd`` provider on one machine, over a real Ceph cluster; each test has a Ceph namespace."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.ceph.cluster import POOL, Ceph
from tests.ceph.conftest import ceph
from tests.conftest import CALL_SECONDS, CHECKOUT, MIB, Node, Result, Site
from tests.machines import wait_until

if TYPE_CHECKING:
    pass

__all__ = ["ceph"]

PROMPT = "qemu-io> "
_NUMBERS = itertools.count(1)


class Hypervisor:
    """QEMU's tool for looking into disks, which has one open until the end of the block."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._until_prompt()

    def __enter__(self) -> Hypervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def says(self, command: str) -> str:
        """Let it do something; what it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._until_prompt()

    def _until_prompt(self) -> str:
        assert self.process.stdout is not None
        said = ""
        while not said.endswith(PROMPT):
            char = self.process.stdout.read(1)
            assert char, said
            said += char
        return said.removesuffix(PROMPT)

    def writes(self) -> bool:
        """Whether it can write, and the data arrive."""
        return "wrote 4096/4096" in self.says("write -f -P 1 0 4096")


class RbdNode(Node):
    """A node; by default its volumes have no device, and are seen by QEMU's tools."""

    site: RbdSite

    def __init__(self, site: RbdSite, name: str) -> None:
        super().__init__(site, name)
        self.provider = site.provider
        self.environment |= {"EXTP_PROVIDER": "rbd", "EXTP_ACCESS": "userspace"}

    def uri(self, volume: str = "v1") -> str:
        """Attach, and return the URI for QEMU."""
        device, uri = self.ok("attach", volume).splitlines()
        assert device == ""
        return uri.removeprefix("kvm:")

    def qemu_io(self, command: str, volume: str = "v1") -> str:
        """Let QEMU do something with the volume; what it says."""
        line = [*self.prefix, "qemu-io", "-f", "raw", "-c", command, self.uri(volume)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=CALL_SECONDS, check=False)
        return done.stdout + done.stderr

    def put(self, pattern: int, offset: int = 0, volume: str = "v1") -> None:
        """Write 4 KiB of one byte."""
        assert "wrote 4096/4096" in self.qemu_io(f"write -P {pattern} {offset} 4096", volume)

    def hypervisor(self, volume: str = "v1") -> Hypervisor:
        """Something that has the volume open, as QEMU has a running machine's disk."""
        return Hypervisor([*self.prefix, "qemu-io", "-f", "raw", self.uri(volume)])

    def shows(self, pattern: int, offset: int = 0, volume: str = "v1") -> bool:
        """Whether 4 KiB of one byte are there."""
        said = self.qemu_io(f"read -P {pattern} {offset} 4096", volume)
        assert "read 4096/4096" in said, said
        return "verification failed" not in said


class RbdSite(Site):
    """A pool in a Ceph namespace of its own, and the nodes that share it."""

    provider = CHECKOUT / "providers/rbd"

    def __init__(self, directory: Path, ceph: Ceph) -> None:
        self.directory = directory
        self.ceph = ceph
        self.namespace = f"test{next(_NUMBERS)}"
        self.config = directory / "etc"
        self.ssconf = directory / "ssconf"
        self.config.mkdir()
        self.ssconf.mkdir()
        self.options = {
            "conf": str(ceph.conf),
            "keyring": f"{ceph.directory}/client.ganeti.keyring",
            "namespace": self.namespace,
            "userspace_only": "yes",
        }
        ceph.rbd("namespace", "create", f"{POOL}/{self.namespace}")
        self.set()

    def set(self, **options: str) -> None:
        """Write the configuration: one pool, with these options on top (``""`` leaves one out)."""
        told = {**self.options, **options}
        self.configure("[gold]\n" + "".join(f"{name} = {text}\n" for name, text in told.items() if text))

    def configure(self, text: str) -> None:
        (self.config / "rbd.conf").write_text(text)

    def node(self, name: str) -> RbdNode:
        return RbdNode(self, name)

    def spec(self, image: str) -> str:
        """An image for Ceph's commands."""
        return f"{POOL}/{self.namespace}/{image}"

    def rbd(self, *words: str) -> str:
        """The command ``rbd`` of Ceph's administrator; ``:v1`` is an image of this pool."""
        return self.ceph.rbd(*(self.spec(word[1:]) if word.startswith(":") else word for word in words))

    def volumes(self) -> list[str]:
        """The images."""
        import rbd

        return sorted(rbd.RBD().list(self.ioctx()))

    def trash(self) -> list[str]:
        """The images in the trash."""
        import rbd

        return [one["name"] for one in rbd.RBD().trash_list(self.ioctx())]

    def trash_ids(self) -> list[str]:
        """The ids of the images in the trash, in the order in which these are purged."""
        import rbd

        return [one["id"] for one in rbd.RBD().trash_list(self.ioctx())]

    def ioctx(self) -> Any:
        """The pool, for Ceph's administrator."""
        ioctx = self.ceph.admin.open_ioctx(POOL)
        ioctx.set_namespace(self.namespace)
        return ioctx

    def objects(self) -> list[str]:
        """Our objects beside the images, but that of the half-made volumes."""
        names = [one.key for one in self.ioctx().list_objects()]
        return sorted(name for name in names if name.startswith("ganeti-extstorage.state"))

    def half_made(self) -> list[str]:
        """The volumes that have a maker."""
        return self.ceph.rados_keys(POOL, self.namespace, "ganeti-extstorage.making")

    def age_half_made(self, volume: str) -> None:
        """Let a half-made volume be one of long ago."""
        import rados

        ioctx, name = self.ioctx(), "ganeti-extstorage.making"
        with rados.ReadOpCtx() as operation:
            entries, _ = ioctx.get_omap_vals_by_keys(operation, (volume,))
            ioctx.operate_read_op(operation, name)
            text = dict(entries)[volume].decode()
        with rados.WriteOpCtx() as operation:
            aged = re.sub("(begun|until) [0-9]+", r"\1 1000000", text)
            ioctx.set_omap(operation, (volume,), (aged.encode(),))
            ioctx.operate_write_op(operation, name)

    def gnt_storage(self, *words: str) -> str:
        """The administrator's command; its output."""
        return self.gnt_storage_on(self.node("n1"), *words)

    def gnt_storage_on(self, node: RbdNode, *words: str) -> str:
        """The administrator's command on a node; its output."""
        command = [*node.prefix, "/usr/bin/python3", "-m", "gnt_storage", *words]
        environment = {**node.environment, "PYTHONPATH": str(CHECKOUT)}
        return subprocess.run(
            command, cwd=CHECKOUT, env=environment, check=True, capture_output=True, text=True
        ).stdout

    def is_empty(self) -> bool:
        """Whether nothing is left of any volume, now or in a moment (when the trash is purged)."""
        wait_until(lambda: not self.trash() and not self.objects())
        return (self.volumes(), self.objects(), self.half_made()) == ([], [], [])


@pytest.fixture
def site(tmp_path: Path, ceph: Ceph) -> RbdSite:
    """A pool named ``gold``, whose volumes have no device; its namespace goes with the cluster."""
    return RbdSite(tmp_path, ceph)


@pytest.fixture
def n1(site: RbdSite) -> RbdNode:
    """The first node."""
    return site.node("n1")


@pytest.fixture
def n2(site: RbdSite) -> RbdNode:
    """The second node."""
    return site.node("n2")


__all__ += ["MIB", "RbdNode", "RbdSite", "Result"]
