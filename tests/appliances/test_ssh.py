# SPDX-License-Identifier: Apache-2.0
"""Commands over SSH against a real server: logging in, odd answers, connections that end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from extstorage_common.config import Pool
from extstorage_common.deadline import Deadline
from extstorage_common.errors import ConfigurationError, ExtStorageError, TimedOut
from extstorage_common.transports import ssh
from tests.appliances.running import Native, Running

Connect = Callable[..., ssh.Shell]


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Running]:
    appliance = Native("echo", tmp_path / "echo")
    yield appliance
    appliance.stop()


@pytest.fixture
def connect(appliance: Running, tmp_path: Path) -> Iterator[Connect]:
    shells = []
    hosts = tmp_path / "known_hosts"
    hosts.write_text(appliance.known_hosts())
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)

    def connect(seconds: float = 300, **options: Any) -> ssh.Shell:
        said: dict[str, Any] = {option.name: option.default for option in ssh.options(22, "admin")}
        said |= {"address": appliance.address, "port": appliance.port, "password_file": str(secret)}
        pool = Pool(
            "gold", "array", "array.conf", said | {"known_hosts": str(hosts), "transcript": False} | options
        )
        shells.append(ssh.Shell(pool, Deadline(seconds)))
        return shells[-1]

    yield connect
    for shell in shells:
        shell.close()


def test_one_connection_carries_all_commands_of_a_call(appliance: Running, connect: Connect) -> None:
    with connect() as shell:
        answers = [shell.run(f"say {number}", "saying") for number in range(3)]
    assert [(one.status, one.stdout, one.stderr) for one in answers] == [
        (0, f"say {number}\n".encode(), b"") for number in range(3)
    ]
    assert appliance.order(connections=True) == 1


def test_status_streams_and_input_are_kept_apart(connect: Connect) -> None:
    answer = connect().run("fail", "failing")
    assert (answer.status, answer.stdout, answer.stderr) == (3, b"", b"fail\n")


def test_a_server_that_only_asks_questions(tmp_path: Path) -> None:
    other = Native("echo", tmp_path / "other", "--methods", "keyboard-interactive")
    try:
        hosts, secret = tmp_path / "hosts", tmp_path / "secret"
        hosts.write_text(other.known_hosts())
        secret.write_text("secret")
        secret.chmod(0o600)
        said: dict[str, Any] = {option.name: option.default for option in ssh.options(22, "admin")}
        said |= {
            "address": other.address,
            "port": other.port,
            "password_file": str(secret),
            "transcript": False,
        }
        pool = Pool("gold", "array", "array.conf", said | {"known_hosts": str(hosts)})
        with ssh.Shell(pool, Deadline(300)) as shell:
            assert shell.run("hello", "greeting").stdout == b"hello\n"
    finally:
        other.stop()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_keys_of_each_kind(tmp_path: Path, kind: str) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)], check=True)
    options = ["--methods", "publickey", "--authorized-keys", f"{key}.pub"]
    other = Native("echo", tmp_path / "other", *options)
    try:
        hosts = tmp_path / "hosts"
        hosts.write_text(other.known_hosts())
        said: dict[str, Any] = {option.name: option.default for option in ssh.options(22, "admin")}
        said |= {"address": other.address, "port": other.port, "key_file": str(key), "transcript": False}
        pool = Pool("gold", "array", "array.conf", said | {"known_hosts": str(hosts)})
        with ssh.Shell(pool, Deadline(300)) as shell:
            assert shell.run("hello", "greeting").stdout == b"hello\n"
    finally:
        other.stop()


def test_an_unknown_or_changed_host_key_is_refused(
    connect: Connect, appliance: Running, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    with pytest.raises(ssh.ArrayKeyUnknown, match="ssh-keyscan -p"):
        connect(known_hosts=str(empty)).run("x", "asking")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    kind, key = (tmp_path / "k.pub").read_text().split()[:2]
    empty.write_text(f"[{appliance.address}]:{appliance.port} {kind} {key}\n")
    with pytest.raises(ssh.ArrayKeyChanged):
        connect(known_hosts=str(empty)).run("x", "asking")
    assert appliance.requests() == []


def test_a_wrong_password_is_said_and_not_shown(connect: Connect, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-password\n")
    wrong.chmod(0o600)
    with pytest.raises(ssh.LoginRefused) as caught:
        connect(password_file=str(wrong)).run("x", "asking")
    assert "password_file" in str(caught.value)
    assert "not-the-password" not in str(caught.value)


def test_a_secret_that_others_can_read_is_not_used(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        connect().run("x", "asking")


def test_no_exit_status_noise_and_long_errors(connect: Connect, appliance: Running) -> None:
    shell = connect()
    appliance.fault("no-status")
    answer = shell.run("one", "asking")
    assert (answer.status, answer.stdout) == (None, b"one\n")
    appliance.fault("noise", value="Welcome!\n")
    assert shell.run("two", "asking").stdout == b"Welcome!\ntwo\n"
    appliance.fault("flood", value=4_000_000)
    answer = shell.run("three", "asking")
    assert (len(answer.stderr), answer.stdout) == (4_000_000, b"three\n")


@pytest.mark.parametrize(("fault", "reached"), [("cut", True), ("drop", False)])
def test_a_connection_that_ends_may_have_had_its_effect(
    connect: Connect, appliance: Running, fault: str, reached: bool
) -> None:
    shell = connect()
    appliance.fault(fault)
    with pytest.raises(ssh.AnswerLost, match="asking"):
        shell.run("one", "asking")
    assert appliance.call("done") == (["one"] if reached else [])
    assert shell.run("two", "asking").stdout == b"two\n"


def test_the_end_of_a_connection_is_no_answer_either_before_it_is_known(
    connect: Connect, appliance: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """paramiko's thread closes the channels first, and here gets no further for a while."""
    unlink: Callable[[paramiko.Channel], None] = vars(paramiko.Channel)["_unlink"]

    def slowly(channel: paramiko.Channel) -> None:
        unlink(channel)
        time.sleep(1)

    monkeypatch.setattr(paramiko.Channel, "_unlink", slowly)
    shell = connect()
    appliance.fault("cut")
    with pytest.raises(ssh.AnswerLost):
        shell.run("one", "asking")


def test_no_answer_ends_with_the_deadline(connect: Connect, appliance: Running) -> None:
    shell = connect()
    shell.run("one", "connecting")
    appliance.fault("hang")
    shell.deadline = Deadline(3)
    with pytest.raises(TimedOut, match="asking"):
        shell.run("two", "asking")


@pytest.mark.parametrize("times", [1, 3])
def test_a_server_that_hangs_up_on_some_is_tried_again(
    connect: Connect, appliance: Running, times: int
) -> None:
    appliance.fault("hang-up", times=times)
    assert connect().run("one", "asking").stdout == b"one\n"
    assert appliance.order(connections=True) == times + 1


def test_a_server_that_hangs_up_always(connect: Connect, appliance: Running) -> None:
    appliance.fault("hang-up", times=0)
    with pytest.raises(ssh.HungUp, match="MaxStartups"):
        connect().run("one", "asking")
    assert appliance.order(connections=True) == 4


@pytest.mark.parametrize("times", [1, 2])
def test_a_connection_that_ends_in_a_login_is_made_once_more(
    connect: Connect, appliance: Running, times: int
) -> None:
    """A password is tried in two ways, each on a connection of its own."""
    appliance.fault("hang-up", "login", times=times)
    assert connect().run("one", "asking").stdout == b"one\n"
    assert appliance.order(connections=True) == times + 1


def test_a_connection_that_always_ends_in_a_login_is_no_refusal(connect: Connect, appliance: Running) -> None:
    appliance.fault("hang-up", "login", times=0)
    with pytest.raises(ssh.LoginCut, match=r"while 'admin' was logging in with password_file \(.*try again"):
        connect().run("one", "asking")
    assert appliance.order(connections=True) == 4


def test_a_login_that_is_not_answered_is_no_refusal(
    connect: Connect, appliance: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance.fault("hang", "login", times=0)
    with pytest.raises(TimedOut, match="connecting"):
        connect(2).run("one", "asking")
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 1)
    with pytest.raises(ssh.ArrayDown, match="says nothing to a login"):
        connect().run("one", "asking")


def test_nobody_listens(connect: Connect) -> None:
    with pytest.raises(ExtStorageError) as caught:
        connect(port=1).run("one", "asking")
    assert caught.value.status == 8


def test_the_transcript_has_no_secret(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXTSTORAGE_LOG_DIR", str(tmp_path))
    connect(transcript=True).run("chap hush-hush", "setting a secret", secrets=["hush-hush"])
    path = tmp_path / "array.transcript.log"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "chap ***" in path.read_text()
    assert "hush" not in path.read_text()
