# SPDX-License-Identifier: Apache-2.0
"""The scripts themselves, as Ganeti calls them, as far as they need no initiator."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT, Node
from tests.solidfire.conftest import NAME, PROVIDER, SIZE, Array

HOSTILE = [
    "a'b",
    'a"b',
    "a;reboot",
    "$(reboot)",
    "`reboot`",
    "a b",
    "a\nb",
    "../a",
    "-a",
    "a/b",
    "ä",
    "a" * 129,
]


def create(node: Node, volume: str = NAME, size: int = SIZE, **variables: str) -> None:
    node.ok("create", volume, VOL_SIZE=str(size), **variables)


def test_a_volumes_life_but_for_its_device(array: Array, node: Node) -> None:
    create(node)
    node.ok("setinfo", NAME, VOL_METADATA="originstname+web")
    node.ok("grow", NAME, VOL_SIZE=str(SIZE), VOL_NEW_SIZE=str(SIZE + 1))
    node.ok("grow", NAME, VOL_SIZE=str(SIZE), VOL_NEW_SIZE=str(SIZE + 1))
    node.ok("snapshot", NAME, VOL_SNAPSHOT_NAME=NAME + ".snap", VOL_SNAPSHOT_SIZE=str(SIZE))
    node.ok("snapshot", NAME, VOL_SNAPSHOT_NAME=NAME + ".snap", VOL_SNAPSHOT_SIZE=str(SIZE))
    assert array.backend().list_volumes() == [NAME, NAME + ".snap"]
    for name in (NAME, NAME, NAME + ".snap"):
        node.ok("remove", name)
    assert array.volumes() == []
    assert node.left() == []


def test_what_can_not_be_is_said_in_one_line(array: Array, node: Node) -> None:
    assert "no volume of less than 954 MiB" in node.fails(2, "create", NAME, VOL_SIZE="953")
    create(node)
    assert "exists already" in node.fails(5, "create", NAME, VOL_SIZE=str(SIZE))
    assert "no such volume" in node.fails(4, "setinfo", "other", VOL_METADATA="")
    array.settings.capacity = 2 << 30
    assert "MiB are needed" in node.fails(11, "create", "second", VOL_SIZE="4096")
    array.password.write_text("wrong\n")
    assert "does not know user admin" in node.fails(9, "remove", NAME)
    array.stop()
    assert "does not answer" in node.fails(8, "remove", NAME)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_never_reach_the_cluster(array: Array, node: Node, name: str) -> None:
    node.fails(2, "create", name, VOL_SIZE=str(SIZE))
    node.fails(2, "remove", name)
    assert array.front.calls == []


@pytest.mark.parametrize("value", [*HOSTILE[:7], "49", "15001", "", "1e3", "0x64", "\u0665\u0660\u0660"])
def test_hostile_parameters_never_reach_the_cluster(array: Array, node: Node, value: str) -> None:
    node.fails(2, "create", NAME, VOL_SIZE=str(SIZE), EXTP_MIN_IOPS=value)
    assert array.volumes() == []


def test_hostile_texts_reach_it_as_they_are(array: Array, node: Node) -> None:
    create(node)
    for text in [*HOSTILE, "", '{"ganeti": {}}', "\x01", "\\u0041"]:
        node.ok("setinfo", NAME, VOL_METADATA=text)
        assert array.backend().describe(array.backend().get_volume(NAME))["metadata"] == text


def test_a_disk_may_choose_its_service_if_the_administrator_lets_it(array: Array, node: Node) -> None:
    create(node, EXTP_MIN_IOPS="200", EXTP_MAX_IOPS="400", EXTP_BURST_IOPS="600")
    assert array.volumes()[0]["qos"]["maxIOPS"] == 400
    line = node.fails(2, "create", "second", VOL_SIZE=str(SIZE), EXTP_MIN_IOPS="500", EXTP_MAX_IOPS="400")
    assert "none may be more than the next one" in line
    (node.site.config / "solidfire.conf").write_text(array.text(owner_options="none"))
    assert "may not be set" in node.fails(2, "create", "second", VOL_SIZE=str(SIZE), EXTP_MIN_IOPS="200")
    assert "did you mean 'min_iops'?" in node.fails(
        2, "create", "second", VOL_SIZE=str(SIZE), EXTP_MIN_IOP="1"
    )


@pytest.mark.parametrize(
    "point", ["solidfire.created", "solidfire.state_made", "solidfire.state_old_removed"]
)
def test_what_a_killed_call_made_counts(array: Array, node: Node, point: str) -> None:
    variables = {"EXTSTORAGE_CRASH_AT": point}
    if point == "solidfire.created":
        assert node.call("create", NAME, VOL_SIZE=str(SIZE), **variables).status != 0
    else:
        create(node)
        node.ok("setinfo", NAME, VOL_METADATA="first")
        assert node.call("setinfo", NAME, VOL_METADATA="second", **variables).status != 0
        assert array.backend().describe(array.backend().get_volume(NAME))["metadata"] == "second"
    node.ok("setinfo", NAME, VOL_METADATA="third")
    assert array.backend().describe(array.backend().get_volume(NAME))["metadata"] == "third"
    node.ok("remove", NAME)
    assert (array.volumes(), array.usernames()) == ([], ["ganeti"])


@pytest.mark.parametrize("point", ["solidfire.deleted", "solidfire.state_forgotten"])
def test_a_remove_that_was_killed_is_finished(array: Array, node: Node, point: str) -> None:
    create(node)
    node.ok("setinfo", NAME, VOL_METADATA="text")
    assert node.call("remove", NAME, EXTSTORAGE_CRASH_AT=point).status != 0
    assert "waits to be purged" in node.fails(4, "setinfo", NAME, VOL_METADATA="")
    node.ok("remove", NAME)
    assert (array.volumes(), array.usernames()) == ([], ["ganeti"])


def test_a_snapshot_that_was_killed_is_finished_by_the_cluster(array: Array, node: Node) -> None:
    create(node)
    told = {"VOL_SNAPSHOT_NAME": "snap", "VOL_SNAPSHOT_SIZE": str(SIZE)}
    assert node.call("snapshot", NAME, EXTSTORAGE_CRASH_AT="solidfire.copying", **told).status != 0
    assert array.backend().get_volume("snap").size_mib == SIZE
    node.ok("snapshot", NAME, **told)
    assert array.backend().list_volumes() == [NAME, "snap"]


def test_no_secret_is_anywhere(array: Array, node: Node) -> None:
    create(node)
    node.ok("setinfo", NAME, VOL_METADATA="text")
    node.fails(2, "create", "v" * 20, VOL_SIZE=str(1 << 40), EXTSTORAGE_DEBUG="1")
    array.password.write_text("hush-hush\n")
    result = node.call("remove", NAME, EXTSTORAGE_DEBUG="1")
    assert result.status == 9
    told = result.stderr + "".join(
        path.read_text(errors="replace")
        for directory in (array.directory / "run", array.directory / "site")
        for path in directory.rglob("*")
        if path.is_file()
    )
    assert NAME in told
    for word in ("hush-hush", "secret\n"):
        assert word not in told


def test_verify_says_what_to_mend(array: Array, node: Node) -> None:
    def verify(*checks: str, status: int = 0) -> str:
        result = node.call("verify", NAME, *checks)
        assert (result.status, result.stdout) == (status, ""), result
        return result.stderr

    assert verify("configuration", "cluster", "account", "service") == ""
    configuration = node.site.config / "solidfire.conf"
    configuration.write_text(array.text(account="other"))
    assert "make it: gnt-storage pool init solidfire gold" in verify("account", status=8)
    configuration.write_text(array.text(min_iops="500", max_iops="200"))
    assert "min_iops 500, max_iops 200" in verify("service", status=2)
    configuration.write_text(array.text(ca_file="-"))
    assert "is not to be trusted" in verify("cluster", status=9)
    configuration.write_text(array.text(fingerprint="12:34"))
    assert "64 hexadecimal digits" in verify("cluster", status=3)
    configuration.write_text(array.text(addres="1"))
    assert "did you mean 'address'?" in verify("configuration", status=3)


def run(array: Array, node: Node, *words: str) -> str:
    """What the administrator's command prints."""
    command = [sys.executable, "-m", "gnt_storage", *words]
    environment = {**node.environment, "PATH": "/usr/bin:/bin"}
    environment.pop("PYTHONPATH")
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_administrators_commands(array: Array, node: Node) -> None:
    array.cluster.result("RemoveAccount", accountID=1)
    assert array.backend(account="ganeti").element
    run(array, node, "pool", "init", str(PROVIDER), "gold")
    assert array.usernames() == ["ganeti"]
    create(node)
    listed = json.loads(run(array, node, "volume", "list", str(PROVIDER), "--json"))
    assert NAME in json.dumps(listed)
    assert "iqn.2010-01.com.solidfire:jyay." in run(
        array, node, "volume", "show", NAME, "--provider", str(PROVIDER)
    )
