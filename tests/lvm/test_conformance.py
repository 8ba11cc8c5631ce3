# SPDX-License-Identifier: Apache-2.0
"""The conformance suite on two nodes of a storage machine that is their controller.

The suite itself runs on the first node, as an administrator runs it, and reaches the second one by SSH.
"""

from __future__ import annotations

import json
import shlex

from tests.lab import conformance
from tests.lvm.box import CHECKOUT, PROVIDER, Box
from tests.lvm.client import KEYGEN, SERVER, Client

SECONDS = 3600
AWAY = "ip link set eth1 down; ip link set eth2 down"
BACK = "ip link set eth1 up; ip link set eth2 up"


def let_in(there: Client, here: Client) -> str:
    """Let the one node into the other as root; the command that runs a shell's line there."""
    address = there.machine.addresses[0]
    here.sh(f"rm -f /srv/key*; {KEYGEN} /srv/key")
    config = SERVER.format(address=address).replace("/srv/ssh/", "/srv/")
    there.machine.put("/srv/sshd_config", config)
    there.machine.put("/srv/authorized_keys", here.sh("cat /srv/key.pub"))
    there.sh(f"rm -f /srv/host*; {KEYGEN} /srv/host; mkdir -p /run/sshd; /usr/sbin/sshd -f /srv/sshd_config")
    here.machine.put("/srv/known_hosts", f"{address} {there.sh('cat /srv/host.pub')}")
    options = {
        "IdentityFile": "/srv/key",
        "UserKnownHostsFile": "/srv/known_hosts",
        "ControlMaster": "auto",
        "ControlPath": "/run/suite-ssh",
        "ControlPersist": "600",
    }
    words = ["ssh", "-F", "none", *(f"-o{name}={value}" for name, value in options.items())]
    return shlex.join([*words, f"root@{address}"])


def test_conformance(box: Box, n1: Client, n2: Client) -> None:
    words = ["/usr/bin/python3", "-m", "gnt_storage", "conformance", PROVIDER, "--json"]
    words += ["--away", AWAY, "--back", BACK, "--node", "n1=sh -c", "--node", f"n2={let_in(n2, n1)}"]
    words += [] if conformance.IS_WHOLE else conformance.options(conformance.CASES)
    line = f"cd {CHECKOUT} && exec {shlex.join(words)}"
    done = n1.machine.run(line, check=False, timeout=SECONDS)
    assert done.stdout, done.stderr
    found = conformance.names(json.loads(done.stdout)["results"])
    assert len(found) > 90 if conformance.IS_WHOLE else found == sorted(conformance.CASES)
    assert (box.lvs(), box.exported(), box.objects()) == (set(), {}, [])
    assert n1.left() == n2.left() == []
