# SPDX-License-Identifier: Apache-2.0
"""One pool of one Ceph cluster: the connection, its limits, and what Ceph's errors mean.

Ceph's Python modules are imported when a cluster is first asked, never before. librados waits for ever by
default, so each wait gets a limit. What no option of its bounds (the wait for an image's lock) ends with the
call's deadline, when the process that waits is left behind (``worker.py``).
"""

from __future__ import annotations

import errno
import os
import sys

from extstorage_common.backends.rbd_errors import CephPoolMissing, CephRefused, ClusterWrong
from extstorage_common.errors import BadConfiguration, PoolUnreachable, StorageFull, SystemRefused
from extstorage_common.libraries import python_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extstorage_common.config import Pool
    from extstorage_common.deadline import Deadline

MONITOR_SECONDS = 10.0
OSD_SECONDS = 35.0
"""Above the 30 s after which a cluster has noticed that an OSD, or a client that holds a lock, is dead."""

_QUIET = {"log_file": "", "log_to_stderr": "false", "err_to_stderr": "false", "admin_socket": ""}
_UNUSABLE = (errno.ENOENT, errno.EIO, errno.EINVAL)
_DENIED = (errno.EPERM, errno.EACCES)
COMPARED_UNEQUAL = (errno.ERANGE, errno.EOVERFLOW, errno.ECANCELED)
_FOR_THE_CALLER = (
    errno.ENOENT,
    errno.ENODATA,
    errno.EEXIST,
    errno.EBUSY,
    errno.ENOTEMPTY,
    *COMPARED_UNEQUAL,
)
_CONNECTIONS: dict[tuple[object, ...], Any] = {}


class Client:
    """A pool of the configuration, connected when it is first asked.

    ``cluster`` is the connection (rados.Rados), ``ioctx`` the Ceph pool and its namespace, ``rbd`` the
    module of that name.
    """

    def __init__(self, pool: Pool, deadline: Deadline) -> None:
        self.pool = pool
        self.deadline = deadline
        self._cluster: Any = None
        self._ioctx: Any = None

    @property
    def user(self) -> str:
        """The cephx user: ``client.ganeti``."""
        return f"client.{self.pool['cephx_id']}"

    @property
    def rados(self) -> Any:
        """The module ``rados``."""
        return python_module("rados", "python3-rados")

    @property
    def rbd(self) -> Any:
        """The module ``rbd``, without which most calls can do."""
        return python_module("rbd", "python3-rbd")

    @property
    def cluster(self) -> Any:
        """The connection. Raises PoolUnreachable, BadConfiguration, CephRefused."""
        if self._cluster is None:
            self._cluster = self._connected()
        return self._cluster

    def _connected(self) -> Any:
        """This process's connection of this user to this cluster; making one costs as much as an image."""
        key = (os.getpid(), self.user, self.pool["conf"], self.pool["keyring"])
        if key not in _CONNECTIONS:
            self._check_files()
            cluster = self._configured()
            with self.answers("connecting to the monitors"):
                try:
                    cluster.connect()
                except self.rados.Error as error:
                    if getattr(error, "errno", None) not in _UNUSABLE:
                        raise
                    reason = f"Ceph can't use it with {self.pool['keyring']}: {error}"
                    raise BadConfiguration(file=self.pool["conf"], reason=reason) from error
            _CONNECTIONS[key] = cluster
        return _CONNECTIONS[key]

    @property
    def ioctx(self) -> Any:
        """The Ceph pool, in the namespace of the configuration. Raises CephPoolMissing."""
        if self._ioctx is None:
            ioctx = self.open_pool(self.pool["rbd_pool"])
            if self.pool["namespace"]:
                ioctx.set_namespace(self.pool["namespace"])
            self._ioctx = ioctx
        return self._ioctx

    def open_pool(self, name: str) -> Any:
        """A Ceph pool of the cluster. Raises CephPoolMissing."""
        cluster = self.cluster
        try:
            with self.answers(f"opening pool {name}"):
                ioctx = cluster.open_ioctx(name)
        except self.rados.ObjectNotFound:
            raise CephPoolMissing(rbd_pool=name, cluster=cluster.get_fsid(), pool=self.pool.name) from None
        # In a full pool a write waits for ever, unless it is asked to fail.
        ioctx.set_osdmap_full_try()
        return ioctx

    def _check_files(self) -> None:
        """Name the file that is missing, where Ceph would only say that something was not found."""
        for option in ("conf", "keyring"):
            try:
                os.close(os.open(self.pool[option], os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                reason = f"[{self.pool.name}] {option} = {self.pool[option]} can't be read: {error.strerror}"
                raise BadConfiguration(file=self.pool.file, reason=reason) from error

    def _configured(self) -> Any:
        # Not all the time that there is, so that some is left to say who did not answer.
        for_monitors = min(MONITOR_SECONDS, self.deadline.left() * 2 / 3)
        limits = {
            "client_mount_timeout": for_monitors,
            "rados_mon_op_timeout": for_monitors,
            "rados_osd_op_timeout": min(OSD_SECONDS, max(1.0, self.deadline.left() - 5)),
        }
        options = {**_QUIET, "keyring": self.pool["keyring"], "rbd_default_clone_format": "2"}
        options |= {option: str(max(1, int(seconds))) for option, seconds in limits.items()}
        try:
            return self.rados.Rados(conffile=self.pool["conf"], name=self.user, conf=options)
        except self.rados.Error as error:
            raise BadConfiguration(file=self.pool["conf"], reason=f"Ceph can't use it: {error}") from error

    def pool_id(self) -> str:
        """The Ceph cluster, pool and namespace, the same from every node. Raises ClusterWrong."""
        parts = [self.cluster.get_fsid(), str(self.ioctx.get_pool_id()), self.pool["namespace"] or ""]
        found = "/".join(filter(None, parts))
        if self.pool["uuid"] and self.pool["uuid"] != found:
            raise ClusterWrong(conf=self.pool["conf"], found=found, expected=self.pool["uuid"])
        return found

    def monitor(self, prefix: str, **arguments: object) -> Any:
        """One command to the monitors; its answer as parsed from JSON (None if it says nothing)."""
        import json

        command = json.dumps({"prefix": prefix, "format": "json", **arguments})
        with self.answers(f"telling the monitors '{prefix}'"):
            status, output, said = self.cluster.mon_command(command, b"")
            if status:
                raise self.rados.OSError(said, errno=-status)
        return json.loads(output) if output else None

    def map_keys(self, name: str) -> list[str]:
        """The keys of an object's map; none if there is no such object."""
        rados = self.rados
        found: list[str] = []
        while True:
            with rados.ReadOpCtx() as operation:
                entries, _ = self.ioctx.get_omap_vals(operation, found[-1] if found else "", "", 1000)
                try:
                    with self.answers(f"listing what is in {name}"):
                        self.ioctx.operate_read_op(operation, name)
                except rados.ObjectNotFound:
                    return found
                keys = [key for key, _ in entries]
            found += keys
            if not keys:
                return found

    def write_probe(self) -> None:
        """Write an object and remove it. Raises CephRefused, NoSpace."""
        probe = f"ganeti-extstorage.probe.{os.urandom(6).hex()}"
        with self.answers("writing objects into the pool"):
            self.ioctx.write_full(probe, b"")
            self.ioctx.remove_object(probe)

    def own_host(self) -> str:
        """The address of this node, as the cluster sees it: ``192.0.2.11``."""
        return host_of(self.cluster.get_addrs())

    def answers(self, what: str) -> Answers:
        """A block in which Ceph's errors become ours; ``what`` is what it does.

        Errors that may be an expected answer go through to the block's caller: not there, there already, in
        use, not what it was compared with.
        """
        return Answers(self, what)


class Answers:
    """See :meth:`Client.answers`."""

    def __init__(self, client: Client, what: str) -> None:
        self.client = client
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        # Whatever was not imported has raised nothing.
        modules = [sys.modules[name] for name in ("rados", "rbd") if name in sys.modules]
        if not any(isinstance(error, module.Error) for module in modules):
            return
        number = getattr(error, "errno", None) or 0
        pool = self.client.pool
        if number == errno.ETIMEDOUT:
            who = "the monitors" if "connecting" in self.what or "telling" in self.what else "its OSDs"
            reason = f"{who} did not answer in time while {self.what}; look at: ceph -s"
            raise PoolUnreachable(pool=pool.name, reason=reason) from error
        if number in _DENIED:
            raise CephRefused(user=self.client.user, what=self.what, keyring=pool["keyring"]) from error
        if number in (errno.ENOSPC, errno.EDQUOT):
            reason = "the Ceph pool is full or at its quota"
            raise StorageFull(what=self.what, reason=reason) from error
        if number == errno.ESHUTDOWN:
            reason = f"this client was blocklisted while {self.what}"
            raise PoolUnreachable(pool=pool.name, reason=reason) from error
        if number in _FOR_THE_CALLER:
            return
        raise SystemRefused(what=self.what, reason=_words(error, number)) from error


def _words(error: BaseException, number: int) -> str:
    if number == errno.EROFS:
        return "another client holds the image's lock and does not give it up, or the OSDs do not answer"
    return str(error) or os.strerror(number)


def host_of(address: str) -> str:
    """The host of a Ceph client's address, ``192.0.2.11:0/1407434398`` or ``[2001:db8::1]:0/14``."""
    return address.rpartition(":")[0]
