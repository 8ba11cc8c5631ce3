# SPDX-License-Identifier: Apache-2.0
"""What a node's key may do on the controller, and whom a node believes to be its controller."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from extstorage_common import wire
from extstorage_common.backends.base import Holder, Holders, Volume
from tests.controller.conftest import Consumer, Controller


def ssh(node: Consumer, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """OpenSSH's client, with the node's key."""
    options = {"UserKnownHostsFile": node.known_hosts, "IdentityFile": node.key, "BatchMode": "yes"}
    line = ["ssh", "-F", "none", "-p", str(node.controller.port)]
    line += [f"-o{name}={value}" for name, value in options.items()]
    return subprocess.run([*line, *words], input=stdin, capture_output=True, check=False, timeout=60)


def ask(node: Consumer, method: str, *arguments: Any, **other: Any) -> dict[str, Any]:
    """What the controller answers to a request, however wrong."""
    request = {"provider": "file", "pool": "default", "parameters": {}, "seconds": 10}
    request |= {"method": method, "arguments": list(arguments), **other}
    ended = ssh(node, "127.0.0.1", "x", stdin=wire.dump(request))
    greeting, answer = ended.stdout.splitlines()
    assert json.loads(greeting)["protocol"] == wire.PROTOCOL
    told: dict[str, Any] = json.loads(answer)
    return told


def refusal(node: Consumer, method: str, *arguments: Any, **other: Any) -> str:
    """The sentence with which the controller refuses a request."""
    return str(ask(node, method, *arguments, **other)["error"]["sentence"])


def test_the_key_runs_nothing_else(c1: Consumer) -> None:
    for command in ("id", "cat /etc/passwd", ""):
        ended = ssh(c1, "127.0.0.1", *command.split())
        assert json.loads(ended.stdout).keys() == {"protocol", "suite"}
    assert b"PTY allocation request failed" in ssh(c1, "-tt", "127.0.0.1", "id").stderr
    forwarding = ssh(c1, "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "127.0.0.1")
    assert forwarding.returncode == 255


def test_no_node_speaks_for_another(c1: Consumer) -> None:
    c1.create()
    volume = Volume("v1", 16 << 20)
    old = Holders(0, ())
    assert refusal(c1, "replace_holders", volume, old, [Holder("n2", "exclusive")]) == (
        "node n1 may not make node n2 a holder"
    )
    assert ask(c1, "replace_holders", volume, old, [Holder("n1", "exclusive")]) == {"result": True}


def test_a_node_uses_its_pools_only(controller: Controller) -> None:
    other = controller.site.directory / "other"
    pools = f"[default]\ndirectory = {controller.site.pool}\n[secret]\ndirectory = {other}\n"
    controller.site.configure(pools)
    controller.site.init("secret")
    node = Consumer(controller, "n3", ["file/default"])
    try:
        assert refusal(node, "list_volumes", pool="secret") == (
            "node n3 may not use pool 'secret' of provider 'file' on this controller"
        )
        assert ask(node, "list_volumes") == {"result": []}
    finally:
        node.end()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_volume", ["../x"]),
        ("get_volume", []),
        ("get_volume", [["v1"]]),
        ("__init__", [1, 2, 3]),
        ("initialize_pool", []),
        ("create_volume", ["v1", -1]),
        ("create_volume", ["v1", True]),
        ("delete_volume", [Volume("../default", 1)]),
        ("delete_volume", ["v1"]),
        ("set_metadata", [Volume("v1", 1), 7]),
        ("fence", [Volume("v1", 1), Holder("n 2", "exclusive")]),
        ("replace_holders", [Volume("v1", 1), Holders(0, ()), [Holder("n1", "exclusive", "a\nb")]]),
        ("replace_holders", [Volume("v1", 1), Holders(0, ()), [Holder("n1", "mine")]]),
    ],
)
def test_wrong_arguments(c1: Consumer, method: str, arguments: list[Any]) -> None:
    assert "can't be asked for with these arguments" in refusal(c1, method, *arguments)


@pytest.mark.parametrize("line", [b"{}\n", b"[1]\n", b"nonsense\n", b'{"~": "Deadline"}\n', b'{"~": []}\n'])
def test_no_request_at_all(c1: Consumer, line: bytes) -> None:
    _, answer = ssh(c1, "127.0.0.1", "x", stdin=line).stdout.splitlines()
    assert json.loads(answer)["error"]["kinds"][0] == "BadMessage"


def test_the_host_key_must_be_known(c1: Consumer, controller: Controller) -> None:
    c1.known_hosts.write_text("")
    assert "is not in" in c1.fails(8, "create", VOL_SIZE="16")
    c1.known_hosts.unlink()
    sentence = c1.fails(8, "create", VOL_SIZE="16")
    assert f"put it there once you have compared it: ssh-keyscan -p {controller.port} 127.0.0.1" in sentence


def test_a_host_key_that_changed(c1: Consumer, controller: Controller) -> None:
    controller.stop()
    controller.new_host_key()
    controller.start()
    assert "has another host key than" in c1.fails(8, "create", VOL_SIZE="16")
    assert c1.masters() == []


def test_a_key_that_is_not_authorized(c1: Consumer, controller: Controller) -> None:
    controller.keys.write_text("")
    assert "does not accept this node's key" in c1.fails(8, "create", VOL_SIZE="16")


def test_a_key_that_ssh_does_not_take(c1: Consumer, controller: Controller) -> None:
    c1.key.chmod(0o640)
    sentence = c1.fails(8, "create", VOL_SIZE="16")
    assert f"such as {c1.key} for controller 127.0.0.1 (mode 0640); chmod 600 {c1.key}\n" in sentence
    c1.key.unlink()
    sentence = c1.fails(8, "create", VOL_SIZE="16")
    assert f"this node has no key {c1.key} for controller 127.0.0.1 (No such file or directory)" in sentence


def test_a_key_without_a_forced_command(c1: Consumer, controller: Controller) -> None:
    controller.keys.write_text(c1.key.with_suffix(".pub").read_text())
    assert "is not this suite (" in c1.fails(8, "create", VOL_SIZE="16")


def test_a_controller_of_another_version(c1: Consumer, controller: Controller) -> None:
    said = 'command="echo \'{\\"protocol\\": 99, \\"suite\\": \\"9.9\\"}\'; cat" '
    controller.keys.write_text(said + c1.key.with_suffix(".pub").read_text())
    assert "has version 9.9 (protocol 99) of this suite and this node" in c1.fails(3, "create", VOL_SIZE="16")


def test_an_error_that_only_the_controller_knows() -> None:
    told = {"kinds": ["VolumeTooRound", "NotFound", "ExtStorageError"], "fields": {"size": 1}}
    error = wire.decode_error({**told, "status": 4, "sentence": "it is too round"})
    assert (type(error).__name__, error.status, str(error)) == ("NotFound", 4, "it is too round")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n", "2 lines"),
        ("", "0 lines"),
        ("ssh-ed25519", "one word"),
        ("ssh-ed25519 ???", "its second word is no key"),
        ("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==", "its first word is not the type"),
    ],
)
def test_authorize_takes_public_keys_only(controller: Controller, content: str, reason: str) -> None:
    file = controller.directory / "some.pub"
    file.write_text(content)
    ended = controller.command("authorize", "n1", str(file), "file")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert reason in ended.stderr


def test_authorize_names_what_there_is(controller: Controller) -> None:
    key = str(controller.directory / "host.pub")
    assert controller.command("authorize", "n1", key, "file/none").returncode == 4
    assert controller.command("authorize", "n1", key, "none").returncode == 3
    assert controller.command("authorize", 'n1" x', key, "file").returncode == 2
