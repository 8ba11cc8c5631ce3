# SPDX-License-Identifier: Apache-2.0
"""The namespaces of a Ceph cluster, and how they are found again and ended, whoever started them.

Nothing relies on a list that somebody kept. What was started for the cluster in DIR has
``CEPH_TEST_CLUSTER=DIR`` in its environment; the first process of its namespace takes all others, and the
tmpfs, with it. It is ended through a pidfd, so that a process that took over its number is never hit.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "CEPH_TEST_CLUSTER"
INIT = "CEPH_TEST_INIT=1"
SECONDS = 20

_SCRIPT = f"""
mount -t tmpfs -o mode=700,size=75% ceph-test-cluster "$1/data"
read -r pid _ </proc/self/stat
echo "$pid"
# With SIGCHLD ignored the kernel reaps what daemonizes.
exec env --ignore-signal=CHLD {INIT} sleep infinity >/dev/null 2>&1
"""


class CephError(Exception):
    """The cluster can't do what it should; says why."""


def environment(directory: Path) -> dict[str, str]:
    """The environment of all that is started for the cluster in ``directory``."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", MARK: str(directory)}


def start_init(directory: Path, stay: bool) -> None:
    """Start the first process of the cluster's namespaces; unless it shall ``stay``, it ends with us."""
    unshare = ["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"]
    mortal = [] if stay else ["setpriv", "--pdeathsig", "KILL"]
    process = subprocess.Popen(
        [*mortal, *unshare, "sh", "-ec", _SCRIPT, "sh", str(directory)],
        env=environment(directory), start_new_session=True, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout
    with process.stdout as output:
        written = output.readline()
        if not written.strip().isdigit():
            raise CephError(f"the cluster's namespaces: {written}{output.read()}")
    while not find(directory):  # it has told its number, and is just becoming what it is to be
        if process.poll() is not None:
            raise CephError("the first process of the cluster ended")


def inside(directory: Path, network: str, command: Sequence[str]) -> list[str]:
    """The argument list that runs ``command`` in the cluster's namespaces."""
    enter = ["nsenter", f"--target={find(directory)}", "--mount", "--pid"]
    return [*enter, *([f"--net={network}"] if network else []), "--", *command]


def find(directory: Path) -> int:
    """The first process of the cluster; 0 if it is not running."""
    return next((pid for pid in marked(directory) if _has(pid, INIT.encode())), 0)


def marked(directory: Path) -> list[int]:
    """All processes of the cluster."""
    wanted = f"{MARK}={directory.resolve()}".encode()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _has(int(name), wanted)]


def _has(pid: int, variable: bytes) -> bool:
    try:
        return variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def command_line(pid: int) -> list[str]:
    """The arguments of a process; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    return bool(command_line(pid))


def end(directory: Path) -> None:
    """End all that belongs to the cluster, the first process first."""
    for pid in filter(None, [find(directory), *marked(directory)]):
        kill(pid, directory)


def kill(pid: int, directory: Path) -> None:
    """Kill a process of the cluster, and wait for its end; another that has got its number is left alone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in marked(directory):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not select.select([handle], [], [], SECONDS)[0]:
                raise CephError(f"process {pid} does not end")
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
