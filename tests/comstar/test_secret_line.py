# SPDX-License-Identifier: Apache-2.0
"""The line that gives itadm a secret in a file, as real shells run it."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from extstorage_common.backends.comstar_commands import Machine
from extstorage_common.deadline import Deadline
from tests.comstar.conftest import Site

SECRET = b"twenty random letters"


@pytest.fixture
def line(site: Site, tmp_path: Path) -> str:
    """The line, where a script of the test stands for itadm, and a directory with a blank for the files'."""
    (tmp_path / "a b").mkdir()
    pool = site.backend(pfexec="no", secret_directory=str(tmp_path / "a b")).pool
    machine = Machine(pool, Deadline(60))
    line = machine._line_with_secret("itadm", "create-initiator", "iqn.n1")
    return line.replace("/usr/sbin/itadm", shlex.quote(str(tmp_path / "itadm")))


def itadm(tmp_path: Path, *lines: str) -> None:
    """Let itadm do this; it keeps what it was given in any case."""
    text = ["#!/bin/sh", f"cd {shlex.quote(str(tmp_path))}", 'echo "$1 $2 $4" > words']
    text += ['stat -c "%a %F" "$3" > file', 'cat "$3" > given', *lines]
    (tmp_path / "itadm").write_text("\n".join(text) + "\n")
    (tmp_path / "itadm").chmod(0o755)


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("status", [0, 17])
def test_its_life(tmp_path: Path, line: str, shell: str, status: int) -> None:
    itadm(tmp_path, "echo done", "echo trouble >&2", f"exit {status}")
    done = subprocess.run([shell, "-c", line], input=SECRET, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, b"done\n", b"trouble\n")
    assert (tmp_path / "words").read_text() == "create-initiator -S iqn.n1\n"
    assert (tmp_path / "file").read_text() == "600 regular file\n"
    assert (tmp_path / "given").read_bytes() == SECRET
    assert list((tmp_path / "a b").iterdir()) == []


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE])
def test_a_signal(tmp_path: Path, line: str, shell: str, number: int) -> None:
    """As some servers send where a connection ends."""
    itadm(tmp_path, "echo here", "read word")
    keys = tmp_path / "keys"
    subprocess.run(["mkfifo", keys], check=True)
    line = line.replace("; exit", f" < {shlex.quote(str(keys))}; exit")
    with subprocess.Popen([shell, "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(SECRET)
        process.stdin.close()
        with keys.open("w") as stream:
            assert process.stdout.readline() == b"here\n"
            assert len(list((tmp_path / "a b").iterdir())) == 1
            process.send_signal(number)
            stream.write("go on\n")
    assert process.returncode == 1
    assert list((tmp_path / "a b").iterdir()) == []


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_no_directory(tmp_path: Path, line: str, shell: str) -> None:
    """Then itadm is not run."""
    itadm(tmp_path)
    (tmp_path / "a b").rmdir()
    done = subprocess.run([shell, "-c", line], input=SECRET, capture_output=True, check=False)
    assert done.returncode
    assert b"ganeti-extstorage." in done.stderr
    assert not (tmp_path / "given").exists()
