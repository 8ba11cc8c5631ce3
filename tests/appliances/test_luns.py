# SPDX-License-Identifier: Apache-2.0
"""What a model publishes is what initiators find: names, identities, sizes, and only what is theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.lab.lab import Lab
from tests.machines import wait_until

IQN = "iqn.1986-03.com.sun:02:gold"
NAA = "600144f00000000000005f0000000001"
PORTAL = "10.78.1.10"
SERVER = """
import json, pathlib, sys
sys.path.insert(0, "/srv/checkout")
from tests.appliances.luns import Access, Kernel, Login, Lun, Target
kernel = Kernel()
for line in sys.stdin:
    said = json.loads(line)
    kernel.publish([
        Target(iqn, ("10.78.1.10:3260",), {
            name: Access({int(n): Lun(pathlib.Path(path), naa, "SUN", "COMSTAR")
                          for n, (path, naa) in luns.items()},
                         Login(*login) if login else None)
            for name, (luns, login) in initiators.items()
        }) for iqn, initiators in said.items()
    ])
    print("done", flush=True)
"""


@pytest.fixture
def publish(lab: Lab) -> Iterator[Callable[..., None]]:
    """Publish in one process all that a test says, one after the other; then nothing."""
    run = lab.storage.run
    lab.storage.put("/run/luns.py", SERVER)
    run("mkdir -p /srv/luns; truncate -s 16M /srv/luns/a /srv/luns/b")
    run("rm -f /run/luns.*put; mkfifo /run/luns.input")
    run("sleep infinity <>/run/luns.input >/dev/null 2>&1 & echo $! >/run/luns.pid")
    run("python3 /run/luns.py </run/luns.input >/run/luns.output 2>&1 &")
    told = 0

    def publish(**targets: object) -> None:
        nonlocal told
        told += 1
        lab.storage.run("cat >/run/luns.input", input=json.dumps({IQN: targets} if targets else {}) + "\n")
        wait = f"until [ $(wc -l </run/luns.output) -ge {told} ]; do sleep 0.02; done; cat /run/luns.output"
        assert set(run(wait).stdout.split()) == {"done"}

    yield publish
    publish()
    run("kill $(cat /run/luns.pid); rm -r /srv/luns")
    # udev may still look into one, which goes with its last user then.
    wait_until(lambda: not run("losetup -a").stdout)


def login(lab: Lab, number: int, chap: tuple[str, str] | None = None, check: bool = True) -> int:
    record = f"iscsiadm -m node -T {IQN} -p {PORTAL}"
    commands = [f"{record} -o new"]
    if chap:
        for name, value in (("authmethod", "CHAP"), ("username", chap[0]), ("password", chap[1])):
            commands.append(f"{record} -o update -n node.session.auth.{name} -v {value}")
    commands.append(f"{record} --login")
    return lab.nodes[number].run(" && ".join(commands), check=check).returncode


def disks(lab: Lab, number: int) -> str:
    show = "iscsiadm -m session -R >/dev/null; udevadm settle; "
    show += "lsblk -dnro WWN,SIZE,VENDOR $(ls /dev/sd?) || true"
    return lab.nodes[number].run(show).stdout.replace("\\x20", "").strip()


def wait_for(lab: Lab, number: int, *expected: str) -> None:
    """Until these are the disks that a node has; the kernel makes them in its own time."""
    wait_until(lambda: disks(lab, number).splitlines() == list(expected))


def logout(lab: Lab, number: int) -> None:
    lab.nodes[number].run(
        f"iscsiadm -m node -T {IQN} --logout; iscsiadm -m node -T {IQN} -o delete", check=False
    )


def test_initiators_find_what_is_published_for_them(lab: Lab, publish: Callable[..., None]) -> None:
    other = NAA[:-1] + "2"
    one, two = (node.initiator for node in lab.nodes)
    publish(**{one: [{5: ["/srv/luns/a", NAA]}, None], two: [{5: ["/srv/luns/b", other]}, None]})
    try:
        login(lab, 0)
        login(lab, 1)
        wait_for(lab, 0, f"0x{NAA} 16M SUN")
        wait_for(lab, 1, f"0x{other} 16M SUN")
        publish(**{one: [{5: ["/srv/luns/a", NAA], 6: ["/srv/luns/b", other]}, None]})
        wait_for(lab, 0, f"0x{NAA} 16M SUN", f"0x{other} 16M SUN")
        lab.storage.run("truncate -s 32M /srv/luns/a")
        publish(**{one: [{5: ["/srv/luns/a", NAA]}, None]})
        lab.nodes[0].run("for d in /sys/block/sd?; do echo 1 >$d/device/rescan; done", check=False)
        wait_until(lambda: f"0x{NAA} 32M SUN" in disks(lab, 0))
    finally:
        logout(lab, 0)
        logout(lab, 1)


def test_secrets_are_asked_for(lab: Lab, publish: Callable[..., None]) -> None:
    one = lab.nodes[0].initiator
    publish(**{one: [{0: ["/srv/luns/a", NAA]}, ["user", "secret-secret"]]})
    try:
        assert login(lab, 0, ("user", "wrong-wrong-1"), check=False) == 24
        logout(lab, 0)
        login(lab, 0, ("user", "secret-secret"))
        wait_for(lab, 0, f"0x{NAA} 16M SUN")
    finally:
        logout(lab, 0)
