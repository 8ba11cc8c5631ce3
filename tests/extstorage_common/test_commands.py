# SPDX-License-Identifier: Apache-2.0
"""How commands of this machine are run: with what they begin, and how they end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from extstorage_common.deadline import Deadline
from extstorage_common.errors import NodeUnfit, TimedOut
from extstorage_common.transports import local

if TYPE_CHECKING:
    from pathlib import Path


def sh(script: str, stdin: bytes = b"", seconds: float = 30) -> local.Ended:
    return local.run(["sh", "-c", script], Deadline(seconds), stdin)


def test_output_and_status() -> None:
    ended = sh("cat; echo no >&2; echo way >&2; exit 3", b"said\0\n" * 20_000)
    assert (ended.status, ended.stdout, ended.stderr) == (3, b"said\0\n" * 20_000, b"no\nway\n")
    assert ended.reason == "no; way"


def test_a_signal_is_a_status() -> None:
    ended = sh("kill -9 $$")
    assert ended.status == -9
    assert ended.reason == "ended by signal 9"


def test_the_environment_is_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LVM_SYSTEM_DIR", "/nowhere")
    told = local.run(["env"], Deadline(30), environment={"MORE": "1"}).stdout.decode().split()
    assert sorted(told) == sorted([f"PATH={local.ENVIRONMENT['PATH']}", "LC_ALL=C", "MORE=1"])


def test_no_descriptor_is_inherited() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        assert sh("ls /proc/$$/fd").stdout.split() == [b"0", b"1", b"2"]
    finally:
        os.close(fd)


def test_signals_that_python_ignores_are_not_ignored() -> None:
    """A program that writes into a pipe nobody reads must end of that."""
    ignored = sh("grep SigIgn /proc/self/status").stdout.split()[1]
    assert int(ignored, 16) & sum(1 << (number - 1) for number in local.IGNORED_BY_PYTHON) == 0


def test_a_command_that_is_not_there() -> None:
    for name in ("no-such-command", "/no/such/command"):
        with pytest.raises(NodeUnfit, match=f"{name} is not installed"):
            local.run([name], Deadline(30))


class ReadyDeadline(Deadline):
    """Passes when the command has written its process number to a file."""

    def __init__(self, file: Path) -> None:
        super().__init__(30)
        self.file = file

    def process(self) -> int:
        for _ in self.attempts():
            if self.file.exists() and self.file.read_text().endswith("\n"):
                return int(self.file.read_text())
        pytest.fail("the command does not begin")

    def left(self) -> float:
        self.process()
        return 0.0


def test_a_command_that_takes_too_long_is_told_to_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "GRACE", 30)
    told, ready = tmp_path / "told", ReadyDeadline(tmp_path / "process")
    script = f"trap 'echo yes >{told}; kill $!; exit' TERM; echo $$ >{ready.file}; sleep 3600 & wait"
    with pytest.raises(TimedOut, match="running sh -c"):
        local.run(["sh", "-c", script], ready)
    assert told.read_text() == "yes\n"


def test_a_command_that_refuses_to_end_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "GRACE", 0.1)
    ready = ReadyDeadline(tmp_path / "process")
    script = f"trap '' TERM; echo $$ >{ready.file}; while :; do sleep 1; done"
    with pytest.raises(TimedOut):
        local.run(["sh", "-c", script], ready)
    # Whoever is killed ends soon, not at once; of what ended, nothing is left.
    for _ in Deadline(30).attempts():
        if not os.path.exists(f"/proc/{ready.process()}"):
            return
        os.waitpid(ready.process(), os.WNOHANG)
    pytest.fail("the command goes on")


def test_a_daemon_that_is_left_behind_keeps_nobody_waiting() -> None:
    ended = sh("sleep 3600 & echo $!", seconds=60)
    assert ended.status == 0
    os.kill(int(ended.stdout), 9)
