# SPDX-License-Identifier: Apache-2.0
"""Commands of this machine: run with an environment of ours, bounded by the deadline."""

from __future__ import annotations

import os
import subprocess

from extstorage_common.errors import NodeUnfit, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extstorage_common.deadline import Deadline

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
SIGTERM, SIGKILL = 15, 9
GRACE = 2.0
"""Seconds that a command gets to end by itself when it is told to."""


class Ended:
    """How a command ended: its exit status and what it said."""

    def __init__(self, status: int, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    @property
    def reason(self) -> str:
        """Its complaint, or else its status, in words."""
        lines = [line.strip() for line in self.stderr.decode(errors="backslashreplace").splitlines()]
        return "; ".join(line for line in lines if line) or f"exit status {self.status}"


def run(
    command: Sequence[str],
    deadline: Deadline,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command to its end; it inherits no descriptor. Raises NodeUnfit (not installed), TimedOut."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**ENVIRONMENT, **(environment or {})},
            start_new_session=True,
        )
    except FileNotFoundError:
        raise NodeUnfit(reason=f"{command[0]} is not installed") from None
    try:
        stdout, stderr = process.communicate(stdin, timeout=deadline.left())
    except subprocess.TimeoutExpired:
        _end(process)
        raise TimedOut(seconds=deadline.seconds, doing=f"running {' '.join(command[:2])}") from None
    return Ended(process.returncode, stdout, stderr)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the command to end, then make it; one that sleeps in the kernel is left behind."""
    for signal in (SIGTERM, SIGKILL):
        os.killpg(process.pid, signal)
        try:
            process.communicate(timeout=GRACE)
            return
        except subprocess.TimeoutExpired:
            continue
