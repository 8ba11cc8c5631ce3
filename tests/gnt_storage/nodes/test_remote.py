# SPDX-License-Identifier: Apache-2.0
"""One command on many nodes, with OpenSSH's own server on loopback as the nodes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gnt_storage.nodes import remote
from gnt_storage.nodes.inventory import Node
from tests.machines import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = [Node(f"n{number}", f"127.0.0.{number}") for number in range(1, 9)]
CONFIG = """
Host *
  Port {port}
  User root
  IdentityFile {directory}/key
  IdentitiesOnly yes
  UserKnownHostsFile {directory}/known_hosts
  StrictHostKeyChecking yes
  HostKeyAlias cluster
"""
SERVER = """
Port {port}
ListenAddress 0.0.0.0
HostKey {directory}/host
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
MaxStartups 100:30:200
PidFile none
"""

TALKING = "while echo; do sleep 0.2; done"
"""A command that does not end, but with its connection."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Answers at every loopback address; the value is the directory of its keys."""
    directory = tmp_path_factory.mktemp("sshd")
    port = free_port()
    for key in ("key", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True)
    (directory / "known_hosts").write_text("cluster " + (directory / "host.pub").read_text())
    (directory / "config").write_text(CONFIG.format(port=port, directory=directory))
    (directory / "sshd_config").write_text(SERVER.format(port=port, directory=directory))
    os.makedirs("/run/sshd", exist_ok=True)
    process = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", directory / "sshd_config"], stderr=subprocess.PIPE
    )
    assert process.stderr
    while b"listening" not in process.stderr.readline():
        assert process.poll() is None, "sshd does not start"
    yield directory
    process.send_signal(signal.SIGTERM)
    process.wait()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTSTORAGE_NODE", "somewhere.else")


@pytest.fixture
def config(server: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ssh's configuration, which a test may change."""
    monkeypatch.setenv("EXTSTORAGE_SSH_CONFIG", str(server / "config"))
    return server


def test_open_files_bound_how_many_run_at_a_time(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config / "refusing").write_text("Host *\n  Port 1\n")
    nodes = [Node(f"n{number}", f"127.0.0.{number}") for number in range(1, 61)]
    monkeypatch.setenv("EXTSTORAGE_SSH_CONFIG", str(config / "refusing"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 60, hard))
    try:
        answers = list(remote.run(nodes, ["true"], parallel=60, timeout=120))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {answer.problem for answer in answers} == {"its SSH port refuses connections"}
    assert len(answers) == 60


def test_each_node_answers_once(config: Path) -> None:
    words = ["printf", "%s|", "a b", "$(id)", "'\"", "a\nb", "*", ""]
    answers = list(
        remote.run(NODES, ["sh", "-c", 'cat; exec "$@"', "sh", *words], b"in\n", parallel=3, timeout=60)
    )
    assert sorted(answer.node.name for answer in answers) == [node.name for node in NODES]
    for answer in answers:
        assert (answer.problem, answer.status) == (None, 0)
        assert answer.stdout.decode() == "in\n" + "|".join([*words[2:], ""])


def test_no_more_at_a_time_than_wanted(config: Path, tmp_path: Path) -> None:
    script = 'cd "$1"; : >$$; ls | wc -l; sleep 0.2; rm $$'
    answers = remote.run(NODES, ["sh", "-c", script, "sh", str(tmp_path)], parallel=2, timeout=60)
    assert {int(answer.stdout) for answer in answers} <= {1, 2}


def test_status_and_both_streams(config: Path) -> None:
    (answer,) = remote.run(NODES[:1], ["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=60)
    assert (answer.status, answer.stdout, answer.stderr) == (3, b"out\n", b"err\n")


def test_a_command_that_does_not_listen(config: Path) -> None:
    (answer,) = remote.run(NODES[:1], ["true"], bytes(1 << 20), timeout=60)
    assert (answer.status, answer.problem) == (0, None)


def test_a_command_that_talks_without_end(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_OUTPUT", 1 << 16)
    (answer,) = remote.run(NODES[:1], ["head", "-c", str(1 << 20), "/dev/zero"], timeout=60)
    assert answer.problem == "it answered with more than anybody asked for"
    assert answer.stdout == b""


def test_a_node_that_hangs_is_an_answer(config: Path) -> None:
    answers = {a.node.name: a for a in remote.run(NODES[:2], ["sh", "-c", TALKING], timeout=1)}
    assert {answer.problem for answer in answers.values()} == {"it did not answer within 1 s"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("UserKnownHostsFile {}/known_hosts", "UserKnownHostsFile /dev/null", "its host key is not"),
        ("IdentityFile {}/key", "IdentityFile {}/none", "it does not accept this node's SSH key"),
        ("Port ", "Port 1\n  #", "its SSH port refuses connections"),
    ],
)
def test_why_a_node_does_not_answer(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, problem: str
) -> None:
    text = (config / "config").read_text()
    changed = text.replace(old.format(config), new.format(config))
    assert changed != text
    (tmp_path / "config").write_text(changed)
    monkeypatch.setenv("EXTSTORAGE_SSH_CONFIG", str(tmp_path / "config"))
    (answer,) = remote.run(NODES[:1], ["true"], timeout=60)
    assert answer.problem is not None
    assert answer.problem.startswith(problem)


def test_a_name_that_can_not_be_resolved(config: Path) -> None:
    (answer,) = remote.run([Node("x", "x.invalid")], ["true"], timeout=60)
    assert answer.problem == "its name can't be resolved"


def test_this_node_needs_no_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTSTORAGE_NODE", "n1")
    monkeypatch.setenv("EXTSTORAGE_SSH_CONFIG", "/nonexistent")
    (answer,) = remote.run(NODES[:1], ["echo", "here"], timeout=60)
    assert answer.stdout == b"here\n"


def test_nothing_runs_on_when_nobody_listens(config: Path) -> None:
    script = f'case $SSH_CONNECTION in *" 127.0.0.1 "*) ;; *) {TALKING};; esac'
    answers = remote.run(NODES, ["sh", "-c", script], timeout=1000)
    assert next(answers).node.name == "n1"
    assert _connections()
    answers.close()
    assert _connections() == []


def _connections() -> list[str]:
    command = ["pgrep", "-P", str(os.getpid()), "-x", "ssh"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
