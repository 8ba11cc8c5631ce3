# SPDX-License-Identifier: Apache-2.0
"""Machines for a Ceph cluster and its clients to have addresses of their own, as network namespaces.

    with Network(2) as network, Ceph(directory, address=network.address(0), network=network.path(0)) as ceph:
        run(network.command(1, ["rbd", ...]))

Each lasts as long as a process that sleeps in it, and that one no longer than this program.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.ceph.processes import CephError
from tests.machines import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "10.78.0"


class Network:
    """``hosts`` machines, numbered from 1, at a bridge on machine 0."""

    def __init__(self, hosts: int) -> None:
        self.hosts = hosts
        self._sleepers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Network:
        try:
            for number in range(self.hosts + 1):
                self._sleepers.append(_sleeper())
                self._ip(number, "link set lo up")
            self._ip(0, "link add bridge type bridge")
            self._ip(0, f"address add {self.address(0)}/24 dev bridge")
            self._ip(0, "link set bridge up")
            for number in range(1, self.hosts + 1):
                self._plug(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for sleeper in self._sleepers:
            sleeper.kill()
            sleeper.wait()

    def _plug(self, number: int) -> None:
        self._ip(0, f"link add host{number} type veth peer name eth0 netns {self._sleepers[number].pid}")
        self._ip(0, f"link set host{number} master bridge up")
        self._ip(number, f"address add {self.address(number)}/24 dev eth0")
        self._ip(number, "link set eth0 up")

    def cut(self, number: int) -> None:
        """Take the machine's cable out."""
        self._ip(0, f"link set host{number} down")

    def mend(self, number: int) -> None:
        """Plug the cable in again."""
        self._ip(0, f"link set host{number} up")

    def address(self, number: int) -> str:
        """A machine's address."""
        return f"{PREFIX}.{number + 1}"

    def path(self, number: int) -> str:
        """A machine's network namespace."""
        return f"/proc/{self._sleepers[number].pid}/ns/net"

    def command(self, number: int, command: Sequence[str]) -> list[str]:
        """The argument list that runs a command on a machine."""
        return ["nsenter", f"--net={self.path(number)}", *command]

    def _ip(self, number: int, words: str) -> None:
        command = self.command(number, ["ip", *words.split()])
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise CephError(f"ip {words}: {done.stderr.strip()}")


def _sleeper() -> subprocess.Popen[bytes]:
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    own = os.readlink("/proc/self/ns/net")
    wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own)
    return process
