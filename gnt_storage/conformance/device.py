# SPDX-License-Identifier: Apache-2.0
"""Looks at a block device on a node, with nothing but the node's shell and its coreutils.

Data is written and read past the page cache, so that two nodes see what the storage has.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gnt_storage.conformance.engine import Node

BLOCK = 4096
MIB = 1 << 20

_ONE_BLOCK = f"bs={BLOCK} count=1 status=none"


class DeviceError(Exception):
    """The device could not be used; the text says what was tried and what was seen."""


@dataclass(frozen=True)
class Mark:
    """A block of data that was written at both ends of a volume; ``last`` is the number of its last block."""

    content: bytes
    last: int

    @classmethod
    def make(cls, text: str, size: int) -> Mark:
        """A mark that tells ``text``, for a volume of ``size`` MiB."""
        token = text.encode() + b"\n"
        return cls((token * (BLOCK // len(token) + 1))[:BLOCK], size * MIB // BLOCK - 1)


@dataclass(frozen=True)
class Device:
    """A block device at ``path`` on ``node``; every look is over after ``limit`` seconds."""

    node: Node
    path: str
    limit: float

    def size(self) -> int:
        """The size in bytes."""
        return int(self._expect("blockdev --getsize64", f"blockdev --getsize64 {self._quoted}"))

    def write(self, mark: Mark) -> None:
        """Write the mark into the first and the last block."""
        write = f"dd of={self._quoted} {_ONE_BLOCK} iflag=fullblock conv=notrunc,fsync oflag=direct"
        self._expect("writing", f"{write} && {write} seek={mark.last}", mark.content * 2)

    def shows(self, mark: Mark) -> bool:
        """Whether the mark is at both ends; False also where nothing can be read."""
        read = f"dd if={self._quoted} {_ONE_BLOCK} iflag=direct"
        seen = self._shell(f"{read} && {read} skip={mark.last}")
        return seen.returncode == 0 and seen.stdout == mark.content * 2

    def fill(self, size: int) -> None:
        """Write something that is not zero into the first ``size`` MiB."""
        source = f"dd if=/dev/zero bs=1M count={size} status=none | tr '\\0' '\\252'"
        write = f"dd of={self._quoted} bs=1M iflag=fullblock conv=fsync oflag=direct status=none"
        self._expect("writing", f"{source} | {write}")

    def not_zero(self, start: int, end: int) -> str:
        """What is not zero from ``start`` to ``end`` (MiB), in cmp's words; empty if all is zero."""
        compare = f"cmp -n {(end - start) * MIB} -i {start * MIB}:0 {self._quoted} /dev/zero"
        seen = self._shell(f"blockdev --flushbufs {self._quoted} && {compare}")
        if seen.returncode == 0:
            return ""
        return _text(seen.stdout + seen.stderr) or "it can't be read"

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Meanwhile a process on the node has the device open."""
        line = f"exec 3<{self._quoted} && echo open && cat >/dev/null"
        with subprocess.Popen(
            self.node.shell_argv(line), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdin is not None and holder.stdout is not None
            try:
                if holder.stdout.readline() != b"open\n":
                    raise DeviceError(f"{self.node.name}: {self.path} can't be opened")
                yield
            finally:
                holder.stdin.close()
                holder.wait()

    @property
    def _quoted(self) -> str:
        return shlex.quote(self.path)

    def _expect(self, what: str, line: str, data: bytes = b"") -> bytes:
        seen = self._shell(line, data)
        if seen.returncode != 0:
            raise DeviceError(f"{self.node.name}: {what} failed on {self.path}: {_text(seen.stderr)[:300]}")
        return seen.stdout

    def _shell(self, line: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        try:
            return self.node.shell(line, data, self.limit)
        except subprocess.TimeoutExpired:
            raise DeviceError(
                f"{self.node.name}: {self.path} did not answer within {self.limit:.0f} s"
            ) from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace").strip()
