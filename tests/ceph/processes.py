# SPDX-License-Identifier: Apache-2.0
"""The namespaces of a Ceph cluster, and how they are found again and ended, whoever started them.

Nothing relies on a list that somebody kept. What was started for the cluster in DIR has
``CEPH_TEST_CLUSTER=DIR`` in its environment; the first process of its namespace takes all others, and the
tmpfs, with it. It is ended through a pidfd, so that a process that took over its number is never hit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests import machines
from tests.machines import MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

INIT = "CEPH_TEST_INIT=1"

_SCRIPT = f"""
mount -t tmpfs -o mode=700,size=75% ceph-test-cluster "$1/data"
read -r pid _ </proc/self/stat
echo "$pid"
# With SIGCHLD ignored the kernel reaps what daemonizes.
exec env --ignore-signal=CHLD {INIT} sleep infinity >/dev/null 2>&1
"""


class CephError(MachineError):
    """The cluster can't do what it should; says why."""


def mark(directory: Path) -> str:
    """The mark of all that is started for the cluster in ``directory``."""
    return f"CEPH_TEST_CLUSTER={directory.resolve()}"


def environment(directory: Path) -> dict[str, str]:
    """The environment of all that is started for the cluster in ``directory``."""
    return machines.environment(mark(directory))


def start_init(directory: Path, stay: bool) -> None:
    """Start the first process of the cluster's namespaces; unless it shall ``stay``, it ends with us."""
    unshare = ["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"]
    mortal = [] if stay else ["setpriv", "--pdeathsig", "KILL"]
    machines.spawn([*mortal, *unshare, "sh", "-ec", _SCRIPT, "sh", str(directory)], mark(directory), INIT)


def inside(directory: Path, network: str, command: Sequence[str]) -> list[str]:
    """The argument list that runs ``command`` in the cluster's namespaces."""
    enter = ["nsenter", f"--target={find(directory)}", "--mount", "--pid"]
    return [*enter, *([f"--net={network}"] if network else []), "--", *command]


def find(directory: Path) -> int:
    """The first process of the cluster; 0 if it is not running."""
    return next(iter(machines.processes(mark(directory), INIT)), 0)


def marked(directory: Path) -> list[int]:
    """All processes of the cluster."""
    return machines.processes(mark(directory))


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
    """End all that belongs to the cluster, the first process first. Raises MachineError."""
    if first := find(directory):
        machines.end(first, mark(directory))
    machines.end_all(mark(directory))
