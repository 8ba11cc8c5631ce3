# SPDX-License-Identifier: Apache-2.0
"""Nodes that use volumes and nothing else: the provider's executables there, and the controller they ask."""

from __future__ import annotations

import shlex

from tests.conftest import Result, Scripts
from tests.lab.node import Node
from tests.lvm.box import CHECKOUT, CONFIG, PROVIDER

LAN = 2
"""The network in which the nodes reach the controller; disks come over another."""
SERVER = """
ListenAddress {address}
HostKey /srv/ssh/host
AuthorizedKeysFile /srv/ssh/authorized_keys
StrictModes no
UsePAM no
PidFile /run/sshd.pid
"""
KEYGEN = "ssh-keygen -q -t ed25519 -N '' -C '' -f"
POOLS = """
[DEFAULT]
controller = {address}
[thin]
"""
FORGET = """
for link in $(ls -A /dev/ganeti-extstorage 2>/dev/null); do
    fuser -s -k $(readlink /dev/ganeti-extstorage/$link)
done
iscsiadm -m node -u >/dev/null 2>&1
cd /run/ganeti-extstorage && rm -rf attachments locks dev
rm -rf /etc/iscsi/nodes/* /dev/ganeti-extstorage/* /var/lib/ganeti
"""


class Controller:
    """The storage machine's SSH server, and the keys that it knows."""

    def __init__(self, machine: Node) -> None:
        self.machine = machine
        self.address = machine.addresses[LAN]

    def set_up(self) -> None:
        """Make and start a server with a host key of its own, which knows nobody."""
        self.machine.put("/srv/ssh/config", SERVER.format(address=self.address))
        self.new_host_key()
        self.machine.run("rm -f /srv/ssh/authorized_keys; touch /srv/ssh/authorized_keys")
        self.start()

    def new_host_key(self) -> None:
        """Give the machine another host key, as after an installation; it is to be started then."""
        self.machine.run(f"rm -f /srv/ssh/host*; {KEYGEN} /srv/ssh/host; sync")  # some tests cut its power

    def host_key(self) -> str:
        """The line for a known_hosts."""
        return f"{self.address} {self.machine.run('cat /srv/ssh/host.pub').stdout}"

    def start(self) -> None:
        """Start the server. It goes to the background before it listens, and writes its number after that."""
        start = "mkdir -p /run/sshd; rm -f /run/sshd.pid; /usr/sbin/sshd -f /srv/ssh/config"
        self.machine.run(f"{start} && until [ -s /run/sshd.pid ]; do sleep 0.05; done")

    def stop(self) -> None:
        """End the server with all its connections."""
        end = "for pid in $(pgrep -x sshd); do kill -9 $pid || true; done 2>/dev/null"
        self.machine.run(f"{end}; while pgrep -x sshd >/dev/null; do sleep 0.05; done")

    def authorize(self, node: str, key: str, *pools: str) -> None:
        """Let a node in, with the line that the administrator's command prints."""
        words = ["/usr/bin/python3", "-m", "gnt_storage", "controller", "authorize", node, "-"]
        line = f"cd {CHECKOUT} && {shlex.join(words)} --cluster c1 {shlex.join(pools)}"
        self.machine.run(f"{line} >>/srv/ssh/authorized_keys; sync", input=key)


class Client(Scripts):
    """A node of the cluster: it has its controller's name, a key and a known_hosts, and no storage."""

    def __init__(self, machine: Node, controller: Controller) -> None:
        self.machine = machine
        self.controller = controller
        self.name = machine.fqdn
        self.environment = {"EXTP_PROVIDER": "lvm", "EXTP_ACCESS": "kernelspace"}

    def set_up(self) -> None:
        """Make what an administrator makes on a node."""
        self.sh(f"mkdir -p {CONFIG} /var/log/ganeti/extstorage; {KEYGEN} {CONFIG}/controller_key")
        self.configure()
        self.trust()
        self.controller.authorize(self.name, self.sh(f"cat {CONFIG}/controller_key.pub"), "lvm")
        self.sh("sync")  # some tests cut its power

    def configure(self, more: str = "") -> None:
        """Write the node's own configuration."""
        self.machine.put(f"{CONFIG}/lvm.conf", POOLS.format(address=self.controller.address) + more)

    def trust(self) -> None:
        """Let the node know the controller's present host key."""
        self.machine.put(f"{CONFIG}/known_hosts", self.controller.host_key())

    def tear_down(self) -> None:
        """Forget all volumes, sessions first; the connection to the controller stays."""
        self.machine.run(["sh", "-c", FORGET])

    def sh(self, script: str, check: bool = True) -> str:
        """What a shell script prints."""
        return self.machine.run(["sh", "-ec", script], check=check).stdout

    def line(self, action: str, volume: str = "v1", *arguments: str, **variables: str) -> str:
        """The shell's line for a call of a script: in its directory, with Ganeti's umask."""
        told = {**self.environment, "VOL_NAME": volume, **variables}
        words = ["env", *(f"{key}={value}" for key, value in told.items()), f"{PROVIDER}/{action}"]
        return f"umask 077; cd {PROVIDER} && exec {shlex.join([*words, *arguments])}"

    def call(self, action: str, volume: str = "v1", *arguments: str, **variables: str) -> Result:
        ran = self.machine.run(self.line(action, volume, *arguments, **variables), check=False)
        return Result(ran.returncode, ran.stdout, ran.stderr)

    def offline(self, *nodes: Client) -> None:
        """Mark nodes offline, as ``gnt-node modify -O yes`` does on every node."""
        names = "".join(node.name + "\n" for node in nodes)
        self.machine.put("/var/lib/ganeti/ssconf_offline_nodes", names)

    def write(self, text: str, volume: str = "v1", seconds: int = 60) -> bool:
        """Write to an attached volume, past the cache; whether that worked, in this time."""
        link = f"/dev/ganeti-extstorage/{volume}"
        script = (
            "rm -f /tmp/status; cat >/tmp/text;"
            f"(dd if=/tmp/text of={link} bs=512 conv=sync,notrunc oflag=direct; echo $? >/tmp/status)"
            " >/dev/null &"
            f"for i in $(seq {seconds}0); do [ ! -s /tmp/status ] || exec cat /tmp/status; sleep 0.1; done"
        )
        return self.machine.run(f"exec 2>/dev/null; {script}", input=text).stdout == "0\n"

    def wrote(self) -> bool:
        """Whether a write that was still waiting worked in the end, which comes within a minute."""
        wait = "for i in $(seq 600); do [ ! -s /tmp/status ] || exec cat /tmp/status; sleep 0.1; done; exit 1"
        return self.sh(wait) == "0\n"

    def be_patient(self) -> None:
        """Let commands wait for a storage that is away as long as any test lasts."""
        self.sh("for one in /sys/class/iscsi_session/*; do echo 3600 >$one/recovery_tmo; done")

    def read(self, volume: str = "v1") -> str:
        """What is at the beginning, past the cache; empty if it can't be read."""
        script = f"dd if=/dev/ganeti-extstorage/{volume} bs=512 count=1 iflag=direct status=none"
        return self.machine.run(["sh", "-c", script], check=False).stdout.rstrip("\0")

    def is_cut_off(self) -> bool:
        """Whether none of its sessions is logged in, or will be within a minute."""
        state = "cat /sys/class/iscsi_session/*/state 2>/dev/null | grep -q LOGGED_IN"
        script = f"for i in $(seq 600); do if ! {state}; then exit 0; fi; sleep 0.1; done; exit 1"
        return self.machine.run(script, check=False).returncode == 0

    def size(self, volume: str = "v1") -> int:
        """The size of an attached volume in bytes."""
        return int(self.sh(f"blockdev --getsize64 /dev/ganeti-extstorage/{volume}"))

    def left(self) -> list[str]:
        """What this node still has of any volume: records, links, locks, sessions, node records, disks."""
        script = (
            "cd /run/ganeti-extstorage; ls -d attachments/* locks/* /dev/ganeti-extstorage/*"
            " /sys/class/iscsi_session/* /etc/iscsi/nodes/* /sys/block/sd* 2>/dev/null || true"
        )
        return self.sh(script).split()
