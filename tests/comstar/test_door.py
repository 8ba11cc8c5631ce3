# SPDX-License-Identifier: Apache-2.0
"""The executables at the model, without a node that could attach: what they say and how they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from extstorage_common import config
from extstorage_common.backends.comstar import ComstarBackend
from tests.appliances.running import Native
from tests.comstar.conftest import Site
from tests.conftest import CHECKOUT, Node
from tests.conftest import Site as Pools

PROVIDER = CHECKOUT / "providers/comstar"


class Door(Pools):
    """The administrator's files, and nodes that are directories of this machine."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.directory = site.directory
        self.config = site.config
        self.ssconf = site.directory / "ssconf"
        self.ssconf.mkdir()
        self.write()

    def write(self, **changed: str) -> None:
        """Write the configuration."""
        lines = (f"{name} = {value}\n" for name, value in self.site.options(**changed).items())
        (self.config / "comstar.conf").write_text("[default]\n" + "".join(lines))

    def node(self, name: str) -> Node:
        node = super().node(name)
        node.provider = PROVIDER
        node.environment["EXTP_PROVIDER"] = "comstar"
        return node


@pytest.fixture
def door(site: Site) -> Door:
    return Door(site)


@pytest.fixture
def n1(door: Door) -> Node:
    return door.node("n1")


def test_life_without_attaching(site: Site, n1: Node) -> None:
    n1.create()
    site.machine.order(connections=True)
    assert "exists already with 16 MiB" in n1.fails(5, "create", VOL_SIZE="32")
    n1.ok("setinfo", VOL_METADATA="it's; $(reboot) `x`")
    assert n1.grow(16, 24).status == n1.grow(16, 24).status == 0
    assert n1.snapshot().status == 0
    assert "(v1.snap)" in n1.fails(9, "remove")
    n1.ok("remove", "v1.snap")
    n1.ok("close")
    assert site.machine.order(connections=True) == 8, "one a call"
    n1.ok("remove")
    n1.ok("remove")
    assert "no such volume" in n1.fails(4, "grow", VOL_SIZE="16", VOL_NEW_SIZE="24")
    assert site.run("zfs list -H -o name -r tank/ganeti") == "tank/ganeti\n"
    assert site.machine.call("odd") == []
    assert n1.left() == []


@pytest.mark.parametrize("name", ["a b", "$(reboot)", "a;b", "a'b", "../x", "-rf", "a\nb", "a@b", "a/b", ""])
def test_hostile_names_get_nowhere(site: Site, n1: Node, name: str) -> None:
    """They are no names, whatever a shell would make of them."""
    for action in ("create", "attach", "remove"):
        n1.fails(2, action, name, VOL_SIZE="16")
    assert site.machine.requests() == []


@pytest.mark.parametrize("text", ["$(reboot)", "sparse;reboot", "sparse\nreserved", "'"])
def test_hostile_parameters_get_nowhere(site: Site, n1: Node, text: str) -> None:
    n1.fails(2, "create", VOL_SIZE="16", EXTP_PROVISIONING=text)
    n1.fails(2, "create", VOL_SIZE="16", EXTP_DATASET=text)
    assert not any("create" in line for line in site.machine.requests())


def test_parameter_of_a_disk(site: Site, n1: Node) -> None:
    n1.create(EXTP_PROVISIONING="reserved")
    assert site.run("zfs get -H -p -o value refreservation tank/ganeti/v1/disk") == f"{16 << 20}\n"


def test_full(n1: Node) -> None:
    line = n1.fails(11, "create", VOL_SIZE="9000", EXTP_PROVISIONING="reserved")
    assert "9000 MiB are needed, 4096 MiB are free" in line


def test_machine_away(door: Door, n1: Node) -> None:
    n1.create()
    door.write(port="1")
    for action in ("attach", "detach", "remove", "create"):
        n1.fails(8, action, VOL_SIZE="16")


def test_secrets_that_others_can_read(door: Door, n1: Node) -> None:
    (door.config / "password").chmod(0o644)
    line = n1.fails(3, "create", VOL_SIZE="16")
    assert "others can read it" in line


def test_killed_create(site: Site, n1: Node) -> None:
    assert n1.call("create", VOL_SIZE="16", EXTSTORAGE_CRASH_AT="comstar.container").status == 6
    assert "half-made" in n1.fails(4, "attach")
    n1.ok("remove")
    assert site.run("zfs list -H -o name -r tank/ganeti") == "tank/ganeti\n"
    n1.create()


def test_verify(site: Site, door: Door, n1: Node) -> None:
    """What a check of a pool says; those of the node depend on this machine."""
    checks = ("pool", "target service", "portal group", "chap key")
    for check in checks:
        result = subprocess.run(
            [str(PROVIDER / "verify"), check], env=n1.environment, capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, ""), check
    site.machine.call("service", service="iscsi", status="disabled")
    result = subprocess.run(
        [str(PROVIDER / "verify"), *checks], env=n1.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 8
    assert "must be online" in result.stderr


def test_pool_init(site: Site, door: Door, machine: Native, tmp_path: Path) -> None:
    door.write(dataset="tank/new")
    command = [sys.executable, "-m", "gnt_storage", "pool", "init", str(PROVIDER), "default"]
    environment = {**door.node("n1").environment, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    said = [
        subprocess.run(
            command, cwd=CHECKOUT, env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert site.run("zfs get -H -o value mountpoint tank/new") == "none\n"


def test_sample_configuration_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EXTSTORAGE_CONFIG_DIR", str(CHECKOUT / "docs/examples"))
    configuration = config.load("comstar")
    table = (*config.COMMON_OPTIONS, *ComstarBackend.OPTIONS)
    configuration.check_names(table)
    pools = {name: configuration.pool(name, table, {}) for name in configuration.pool_names()}
    assert {name: pool["provisioning"] for name, pool in pools.items()} == {
        "gold": "sparse",
        "reserved": "reserved",
    }
