# SPDX-License-Identifier: Apache-2.0
"""No process of the node ever has a secret among its arguments or in its environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.iscsi.conftest import Disk, Initiator

WATCHER = """
import json, os, sys
secrets, findings, logins = open("/tmp/secrets", "rb").read().split(), set(), 0
open("/tmp/watching", "w").close()
while os.path.exists("/tmp/watching"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    text = file.read()
            except OSError:
                continue
            if b"iscsiadm" in text and b"--login" in text:
                logins += 1
                open("/tmp/login-seen", "w").close()
            if any(secret in text for secret in secrets):
                findings.add(f"{name}: {text!r}")
                open("/tmp/secret-seen", "w").close()
print(json.dumps([logins, sorted(findings)]))
"""


class Watch:
    """What was seen: how often a login, and secrets where they must not be."""

    logins = 0
    findings: list[str]


@contextmanager
def watch(node: Initiator, secrets: list[str]) -> Iterator[Watch]:
    """Look at all processes of the node, over and over, while in the block."""
    node.node.put("/tmp/watcher", WATCHER)
    node.node.put("/tmp/secrets", " ".join(secrets), 0o600)
    node.node.run(
        "rm -f /tmp/watching /tmp/*-seen; python3 /tmp/watcher >/tmp/watched 2>&1 </dev/null & "
        "echo $! >/tmp/watcher.pid; until [ -e /tmp/watching ]; do sleep 0.01; done"
    )
    seen = Watch()
    try:
        yield seen
    finally:
        node.node.run(
            "rm /tmp/watching /tmp/secrets; "
            "while kill -0 $(cat /tmp/watcher.pid) 2>/dev/null; do sleep 0.01; done"
        )
    seen.logins, seen.findings = json.loads(node.node.run("cat /tmp/watched").stdout)


def test_none_is_seen(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    secrets = [data[key] for key in ("auth_password", "mutual_auth_password")]
    with watch(node, secrets) as seen:
        # On one processor the watcher may not have its turn just then.
        for _ in range(50):
            device = node.connect(data)
            node.disconnect(data, device)
            if not node.node.run("[ -e /tmp/login-seen ]", check=False).returncode:
                break
    assert seen.logins
    assert seen.findings == []


def test_one_would_be_seen(node: Initiator, disk: Disk) -> None:
    """The usual way: iscsiadm takes the secret as an argument."""
    data = disk.let_in(node.node)
    record = f"iscsiadm -m node -T {disk.iqn} -p {disk.portals[0]}"
    with watch(node, [data["auth_password"]]) as seen:
        update = f"{record} -o update -n node.session.auth.password -v {data['auth_password']}"
        node.node.run(f"{record} -o new")
        for _ in range(50):
            node.node.run(update)
            if not node.node.run("[ -e /tmp/secret-seen ]", check=False).returncode:
                break
        node.node.run(f"{record} -o delete")
    assert seen.findings


def test_the_record_is_for_root_alone(node: Initiator, disk: Disk) -> None:
    data = disk.let_in(node.node)
    device = node.connect(data)
    # Of what vanishes meanwhile grep says that it failed.
    search = f"grep -rl {data['auth_password']} /etc/iscsi /run /var/log /tmp"
    found = node.node.run(search, check=False).stdout.split()
    assert found == [f"/etc/iscsi/nodes/{disk.iqn}/{disk.portals[0].replace(':', ',')}"]
    assert node.node.run(f"stat -c '%a %U' {found[0]} /etc/iscsi/nodes/*").stdout.split("\n")[0] == "600 root"
    node.disconnect(data, device)
    assert node.node.run(f"grep -rl {data['auth_password']} /etc/iscsi", check=False).stdout == ""
