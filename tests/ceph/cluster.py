# SPDX-License-Identifier: Apache-2.0
"""A real Ceph cluster on one machine: a monitor and an OSD from Debian's packages, in about a second.

    with Ceph(Path("/tmp/mine")) as ceph:
        ceph.rbd("create", "--size", "1G", "rbd/disk")

Its directory holds what a client needs: ``ceph.conf`` and a keyring a user. The daemons run in a process
and a mount namespace of their own, and keep their data on a tmpfs that only these see: when the first
process there ends, all of that is gone. It ends with the program that made the cluster, be that killed.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import machines
from tests.ceph import processes
from tests.ceph.processes import CephError
from tests.machines import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIRECTORY = Path("/tmp/ceph-test-cluster")
POOL = "rbd"
CLIENT = "client.ganeti"
MON, OSD, MGR = "mon.a", "osd.0", "mgr.x"
SECONDS = 60
CLONE_NEWNET = 0x40000000

CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = [v2:{address}:{port}/0,v1:{address}:{port1}/0]
keyring = {directory}/$name.keyring
log_file =
admin_socket =

[client]
{client}

[mon]
log_file = {directory}/log/$name.log
public_addr = {address}
mon_data = {directory}/data/mon
mon_cluster_log_file = {directory}/log/cluster.log
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_osd_min_down_reporters = 1
mon_osd_report_timeout = 20
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_autoscale_mode = off
# A proposal waits for more by default; nobody else will come.
paxos_propose_interval = 0.05
paxos_min_wait = 0.01

[osd]
log_file = {directory}/log/$name.log
public_addr = {address}
osd_data = {directory}/data/osd
osd_objectstore = {store}
osd_crush_chooseleaf_type = 0
osd_crush_initial_weight = 1
osd_op_num_shards = 2
# After how long a silent client counts as gone; 30 by default.
osd_client_watch_timeout = 10
memstore_device_bytes = {size}
bluestore_block_size = {size}
bluestore_fsck_on_mkfs = false
bluestore_fsck_on_mount = false
# Closing a device waits for a poll to end, 250 ms by default.
bdev_aio_poll_ms = 10

[mgr]
log_file = {directory}/log/$name.log
public_addr = {address}
mgr_data = {directory}/data/mgr
mgr_initial_modules =
"""

CAPABILITIES = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    OSD: {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
    MGR: {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
    CLIENT: {"mon": "profile rbd", "osd": f"profile rbd pool={POOL}", "mgr": f"profile rbd pool={POOL}"},
}
"""The users that the cluster has from the start; the last is the one that the documentation tells to make."""


class Ceph:
    """The cluster in ``directory``, which is made, and removed in the end.

    ``store`` is where the OSD keeps its data: ``memstore``, or ``bluestore``, which survives a restart of
    the OSD and is a second slower. ``mgr``: only with a manager there are figures of space. ``network`` is
    the path of a network namespace in which ``address`` is; by default this machine's own.
    """

    def __init__(
        self,
        directory: Path = DIRECTORY,
        *,
        store: str = "memstore",
        mgr: bool = False,
        address: str = "127.0.0.1",
        network: str = "",
        size: str = "8G",
    ) -> None:
        self.directory = directory.resolve()
        self.store = store
        self.mgr = mgr
        self.address = address
        self.network = network
        self.size = int(size.removesuffix("G")) << 30
        self.conf = self.directory / "ceph.conf"
        self._admin: Any = None

    def __enter__(self) -> Ceph:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    # --- making and ending ------------------------------------------------------------------------

    def up(self, stay: bool = False) -> None:
        """Make the cluster, after clearing what a killed program left there. If that fails, nothing is left.

        With ``stay`` it outlives this program.
        """
        if processes.find(self.directory):
            if stay:
                raise CephError(f"the cluster in {self.directory} is up already")
            self.down()
        self._clear_directory()
        try:
            self._write_files()
            processes.start_init(self.directory, stay)
            self._make_monitor()
            self._make_osd()
            self.create_pool(POOL)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End the cluster and all that it made; nothing there is fine."""
        self._admin = None
        processes.end(self.directory)
        self._clear_directory()

    def _clear_directory(self) -> None:
        if not self.directory.exists() or not any(self.directory.iterdir()):
            return
        if not self.conf.exists():
            raise CephError(f"{self.directory} is not empty, and no cluster's")
        shutil.rmtree(self.directory)

    def _write_files(self) -> None:
        for name in ("log", "data"):
            (self.directory / name).mkdir(parents=True)
        port = 3300 if self.network else _free_port(self.address)
        self.conf.write_text(self._configuration(port))
        keyring = ""
        for name, caps in CAPABILITIES.items():
            section = f"[{name}]\n\tkey = {_new_key()}\n"
            self._keyring(name).write_text(section)
            keyring += section + "".join(f'\tcaps {kind} = "{text}"\n' for kind, text in caps.items())
        self._keyring(MON).write_text(keyring)
        for path in self.directory.glob("*.keyring"):
            path.chmod(0o600)

    def _configuration(self, port: int, client: str = "") -> str:
        return CONFIGURATION.format(
            fsid=uuid.uuid4(), address=self.address, port=port, port1=6789 if self.network else port + 1,
            directory=self.directory, store=self.store, size=self.size, client=client,
        )  # fmt: skip

    def _keyring(self, name: str) -> Path:
        return self.directory / f"{name}.keyring"

    def _make_monitor(self) -> None:
        """All users are in the keyring from which the monitor's store is made: none need be added."""
        made = self.directory / "data/monmap"
        mon_host = self._said("mon_host").replace("/0", "")
        fsid = self._said("fsid")
        addresses = ["--create", "--fsid", fsid, "--enable-all-features", "--addv", "a", mon_host]
        self._inside("monmaptool", *addresses, str(made))
        mkfs = ["--mkfs", "--monmap", str(made), "--keyring", str(self._keyring(MON))]
        self._inside("ceph-mon", "--conf", str(self.conf), "--id", "a", *mkfs)
        self.start(MON)
        if self.mgr:
            self._inside("mkdir", str(self.directory / "data/mgr"))
            self.start(MGR)

    def _make_osd(self) -> None:
        number = str(uuid.uuid4())
        self.mon("osd new", uuid=number, id=0)
        data = self.directory / "data/osd"
        self._inside("mkdir", str(data))
        self._inside("cp", str(self._keyring(OSD)), f"{data}/keyring")
        mkfs = ["--mkfs", "--osd-uuid", number, "--monmap", str(self.directory / "data/monmap")]
        self._inside("ceph-osd", "--conf", str(self.conf), "--id", "0", *mkfs)
        self.start(OSD)

    def _said(self, option: str) -> str:
        lines = self.conf.read_text().splitlines()
        return next(line.removeprefix(f"{option} = ") for line in lines if line.startswith(f"{option} = "))

    def _inside(self, *command: str) -> None:
        done = subprocess.run(
            processes.inside(self.directory, self.network, command),
            check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
            env=processes.environment(self.directory),
        )  # fmt: skip
        if done.returncode:
            raise CephError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")

    # --- daemons ----------------------------------------------------------------------------------

    def start(self, daemon: str) -> None:
        """Start a daemon (``mon.a``, ``osd.0``); returns when it serves, the OSD when it is up."""
        kind, _, number = daemon.partition(".")
        self._inside(f"ceph-{kind}", "--conf", str(self.conf), "--id", number)
        if daemon == OSD:
            wait_until(lambda: json.loads(self.mon("osd stat", format="json"))["num_up_osds"] == 1)
        elif daemon == MGR:
            wait_until(lambda: json.loads(self.mon("mgr stat", format="json"))["available"])

    def kill(self, daemon: str) -> None:
        """Kill a daemon; returns when it is gone, for the rest of the cluster, too."""
        machines.end(self.pid(daemon), processes.mark(self.directory))
        if daemon == OSD:
            self.mon("osd down", ids=["0"])

    def pause(self, daemon: str) -> None:
        """Stop a daemon: it keeps its connections, and answers nothing until :meth:`resume`."""
        os.kill(self.pid(daemon), signal.SIGSTOP)

    def resume(self, daemon: str) -> None:
        """Let a daemon that was paused go on."""
        os.kill(self.pid(daemon), signal.SIGCONT)

    def pid(self, daemon: str) -> int:
        """The number of a daemon's process."""
        kind, _, number = daemon.partition(".")
        wanted = [f"ceph-{kind}", "--conf", str(self.conf), "--id", number]
        for pid in processes.marked(self.directory):
            if processes.command_line(pid) == wanted:
                return pid
        raise CephError(f"{daemon} is not running")

    # --- administration ---------------------------------------------------------------------------

    @property
    def admin(self) -> Any:
        """A connection of ``client.admin`` (rados.Rados)."""
        import rados

        if self._admin is None:
            with _network(self.network):  # the threads that it starts stay there
                admin = rados.Rados(conffile=str(self.conf), name="client.admin")
                admin.connect(timeout=SECONDS)
            self._admin = admin
        return self._admin

    def mon(self, prefix: str, **arguments: object) -> bytes:
        """One command to the monitor, as ``ceph`` gives it. Raises CephError."""
        command = json.dumps({"prefix": prefix, **arguments})
        status, output, said = self.admin.mon_command(command, b"")
        if status:
            raise CephError(f"{prefix}: {said} ({os.strerror(-status)})")
        return bytes(output)

    def create_pool(self, name: str) -> None:
        """Make a pool for images, and wait until it serves."""
        import rbd

        self.mon("osd pool create", pool=name, pg_num=8, pgp_num=8, size=1, yes_i_really_mean_it=True)
        self.mon("osd pool application enable", pool=name, app="rbd")
        # A lease that ran out while the OSD was paused may never be renewed: with a single copy nobody
        # acknowledges the next one, and what came too early waits on (the state "laggy").
        self.mon("osd pool set", pool=name, var="read_lease_interval", val="600")
        with self.admin.open_ioctx(name) as ioctx:
            rbd.RBD().pool_init(ioctx, True)

    def rados_keys(self, pool: str, namespace: str, name: str) -> list[str]:
        """The keys of an object's map; none if there is no such object."""
        try:
            words = ["--pool", pool, "--namespace", namespace, "listomapkeys", name]
            return self._command("rados", "--name", "client.admin", *words).split()
        except CephError:
            return []

    def ceph_object(self, pool: str, namespace: str, name: str) -> str:
        """An object's content; empty if there is no such object."""
        try:
            words = ["--pool", pool, "--namespace", namespace, "get", name, "-"]
            return self._command("rados", "--name", "client.admin", *words)
        except CephError:
            return ""

    def add_user(self, name: str, **capabilities: str) -> Path:
        """Make a user with these capabilities (mon="...", osd="..."); returns its keyring."""
        caps = [word for pair in capabilities.items() for word in pair]
        path = self._keyring(name)
        path.write_bytes(self.mon("auth get-or-create", entity=name, caps=caps))
        path.chmod(0o600)
        return path

    def client_conf(self, path: Path, *lines: str) -> Path:
        """Write a client's configuration, with more lines of its own."""
        text = self.conf.read_text().replace("[client]\n", "\n".join(["[client]", *lines]) + "\n", 1)
        path.write_text(text)
        return path

    def rbd(self, *arguments: str, user: str = "client.admin") -> str:
        """Run the command ``rbd``; its output. Raises CephError."""
        return self._command("rbd", "--name", user, *arguments)

    def ceph(self, *arguments: str, user: str = "client.admin") -> str:
        """Run the command ``ceph``; its output. Raises CephError."""
        return self._command("ceph", "--name", user, *arguments)

    def _command(self, *command: str) -> str:
        done = subprocess.run(
            self.command(command), check=False, capture_output=True, text=True, timeout=120,
            env={"PATH": os.defpath, "CEPH_CONF": str(self.conf)},
        )  # fmt: skip
        if done.returncode:
            raise CephError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def command(self, command: Sequence[str]) -> list[str]:
        """The argument list that runs a command where the cluster is reached."""
        return ["nsenter", f"--net={self.network}", *command] if self.network else list(command)


@contextlib.contextmanager
def _network(path: str) -> Iterator[None]:
    """Meanwhile this thread is in another network namespace."""
    if not path:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as own, open(path) as other:
        _enter(libc, other.fileno())
        try:
            yield
        finally:
            _enter(libc, own.fileno())


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET):
        raise CephError(f"setns: {os.strerror(ctypes.get_errno())}")


def _free_port(address: str) -> int:
    """The first of two adjacent ports that nobody uses, nor another program of ours has got."""
    while True:
        port = 20000 + 2 * secrets.randbelow(5000)
        if (ours := machines.lock(f"port {port}")) is None:
            continue
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind((address, port))
            second.bind((address, port + 1))
            _PORTS.append(ours)
            return port
        ours.close()


_PORTS: list[socket.socket] = []


def _new_key() -> str:
    """A cephx key: its type (AES), the time of its making and its length, then itself."""
    header = struct.pack("<hiih", 1, int(time.time()), 0, 16)
    return base64.b64encode(header + secrets.token_bytes(16)).decode("ascii")
