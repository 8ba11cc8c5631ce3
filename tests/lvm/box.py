# SPDX-License-Identifier: Apache-2.0
"""A storage machine and its initiators in the lab, driven as nodes, administrators and kernels drive them.

The control path is asked at its own door: the executable ``extstorage_common/controller`` with a line of
JSON, as a node's backend asks it. The data path is bare ``iscsiadm``, so that nobody of ours hides what the
export is.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from extstorage_common import wire
from extstorage_common.backends import lvm  # noqa: F401 - its errors are known by their names then
from extstorage_common.backends.base import Holder, Holders, Volume
from extstorage_common.errors import ExtStorageError
from tests.lab.node import Node

CHECKOUT = "/srv/checkout"
CONTROLLER = f"{CHECKOUT}/extstorage_common/controller"
CONFIG = "/etc/ganeti/extstorage"
DISKS = ((1, 204), (301, 68))
"""The group's disks, loop devices: where each begins on the machine's data disk, how many MiB it has."""
DIRTY = """
import mmap, os, sys
begin, end = (int(word) << 20 for word in sys.argv[1:])
block = mmap.mmap(-1, 4 << 20)
block.write(b"\\xff" * len(block))
disk = os.open("/dev/ubdb", os.O_WRONLY | os.O_DIRECT)
for offset in range(begin, end, len(block)):
    os.pwrite(disk, block, offset)
"""
POOLS = """
[DEFAULT]
volume_group = vg0
portals = {address}
[thin]
[thick]
provisioning = thick
[wiped]
provisioning = thick
wipe = remove
"""
PROVIDER = f"{CHECKOUT}/providers/lvm"

TARGETS = "cd /sys/kernel/config/target/iscsi; cd iqn.2026*"
LOSSES = {
    "everything": f"{TARGETS}; echo 0 >tpgt_1/enable; rm tpgt_1/acls/*/lun_0/*.v1;"
    "rmdir tpgt_1/acls/*/lun_0 tpgt_1/acls/*; rm tpgt_1/lun/lun_0/*.v1;"
    "rmdir tpgt_1/lun/lun_0 tpgt_1/np/* tpgt_1; cd ..; rmdir iqn.2026*; rmdir ../core/iblock_*/*.v1",
    "the access list": f"{TARGETS}/tpgt_1/acls; rm */lun_0/*.v1; rmdir */lun_0 *",
    "the portal": f"{TARGETS}; rmdir tpgt_1/np/*",
    "the switch": f"{TARGETS}/tpgt_1; echo 0 >enable",
    "a secret": f"{TARGETS}/tpgt_1/acls/*/auth; echo somethingelse1 >password",
    "authentication": f"{TARGETS}/tpgt_1; echo 0 >attrib/authentication; echo 1 >attrib/generate_node_acls",
}
"""What may happen to the export of ``v1``, and the script that does it."""


@dataclass
class Disk:
    """A disk as a backend's connection tells of it."""

    data: dict[str, Any]

    @property
    def iqn(self) -> str:
        return str(self.data["target_iqn"])

    @property
    def portal(self) -> str:
        return str(self.data["target_portal"])

    @property
    def secrets(self) -> list[str]:
        return [str(self.data[key]) for key in ("auth_password", "mutual_auth_password")]

    def with_(self, **changed: str) -> Disk:
        return Disk({**self.data, **changed})


class Box:
    """The storage machine: a group ``vg0`` of 200 MiB on a disk full of 0xff, half of it a thin pool."""

    def __init__(self, machine: Node) -> None:
        self.machine = machine

    def sh(self, script: str, check: bool = True) -> str:
        """What a shell script prints."""
        return self.machine.run(["sh", "-ec", script], check=check).stdout

    def wait(self, condition: str) -> None:
        """Return when a shell script succeeds; fails after a minute."""
        self.sh(f"for i in $(seq 600); do if {condition}; then exit; fi; sleep 0.1; done; exit 1")

    def set_up(self) -> None:
        """Make the configuration, and the volume group unless it is there."""
        self.configure(POOLS.format(address=self.machine.addresses[1]))
        if not self.sh("vgs --noheadings -o vg_name -S pv_count=1 vg0 2>/dev/null || true"):
            self.add_disk(0)
            self.sh("vgcreate -q vg0 /dev/loop0; lvcreate -q --type thin-pool -L 100m -n thin vg0")

    def renew(self) -> None:
        """Make the volume group anew, so that all that is free in it is full of what somebody left there."""
        self.remove_group()
        self.set_up()

    def remove_group(self) -> None:
        """Remove the volume group with all that is in it, and its disks."""
        self.sh("! vgs vg0 2>/dev/null || vgremove -q -ff -y vg0; losetup -D")
        self.wait('[ -z "$(losetup -a)" ]')

    def add_disk(self, number: int) -> None:
        """A disk full of what somebody left on it."""
        begin, mib = DISKS[number]
        self.machine.python(DIRTY, str(begin), str(begin + mib))
        self.plug(number)
        self.sh(f"pvcreate -q -ff -y /dev/loop{number}")

    def plug(self, number: int) -> None:
        """Let the machine have a disk (again)."""
        begin, mib = (mib << 20 for mib in DISKS[number])
        self.sh(f"losetup --direct-io=on -o {begin} --sizelimit {mib} /dev/loop{number} /dev/ubdb")

    def unplug(self, number: int) -> None:
        """Take a disk away, which nobody uses."""
        self.sh(f"losetup -d /dev/loop{number}")
        # udev may still look into it: it goes with its last user then.
        self.wait(f"! losetup /dev/loop{number} 2>/dev/null")

    def configure(self, text: str) -> None:
        """Write the provider's configuration on the storage machine."""
        self.sh(f"mkdir -p {CONFIG}; cat >{CONFIG}/lvm.conf <<'END'\n{text}END\nsync {CONFIG}/lvm.conf")

    def tear_down(self) -> None:
        """Forget everything but the volume group, exports first."""
        self.sh(
            "rm -rf /var/lib/ganeti-extstorage /run/ganeti-extstorage;"
            "for d in /sys/kernel/config/target/iscsi/iqn.*; do [ -e $d ] || continue;"
            "  echo 0 >$d/tpgt_1/enable;"
            "  for a in $d/tpgt_1/acls/*; do"
            "    [ ! -e $a ] || { rm -f $a/lun_0/*.*; rmdir $a/lun_0 $a; }; done;"
            "  for l in $d/tpgt_1/lun/lun_0/*.*; do rm -f $l; done; rmdir $d/tpgt_1/lun/lun_0;"
            "  for p in $d/tpgt_1/np/*; do rmdir $p; done; rmdir $d/tpgt_1 $d; done;"
            "for o in /sys/kernel/config/target/core/iblock_*/*.*; do [ ! -e $o ] || rmdir $o; done;"
            "lvs=$(lvs --noheadings -o lv_path -S 'lv_name!=thin' vg0 2>/dev/null || true);"
            '[ -z "$lvs" ] || lvremove -q -ff -y $lvs'
        )

    def restart(self) -> None:
        """Cut the machine's power, and do what a boot does up to the unit that restores exports."""
        self.machine.crash()
        self.machine.boot()
        self.plug(0)
        self.sh("vgchange -q -a y vg0")

    def restore(self) -> str:
        """What the unit's command prints, which the machine calls at the end of its boot."""
        return self.sh(f"cd {CHECKOUT}; /usr/bin/python3 -m gnt_storage controller restore")

    # --- the door of a node's requests ------------------------------------------------------------

    def ask(self, method: str, *arguments: Any, node: str = "n1", pool: str = "thin", **other: Any) -> Any:
        """What the controller's executable answers; raises the error that it tells."""
        request = {"provider": "lvm", "pool": pool, "parameters": {}, "seconds": 50}
        request |= {"method": method, "arguments": list(arguments), **other}
        environment = other.pop("environment", "")
        command = f"{environment} {CONTROLLER} {node} c1 lvm".strip()
        ran = self.machine.run(["sh", "-c", command], input=wire.dump(request), check=False)
        _, answer = ran.stdout.splitlines()
        told = wire.load(answer.encode())
        if "error" in told:
            raise wire.decode_error(told["error"])
        return told["result"]

    def dies(self, method: str, *arguments: Any, at: str, **other: Any) -> None:
        """A request during which the executable is killed, at a point that the code names."""
        request = {"provider": "lvm", "pool": "thin", "parameters": {}, "seconds": 50}
        request |= {"method": method, "arguments": list(arguments), **other}
        words = ["env", f"EXTSTORAGE_CRASH_AT={at}", CONTROLLER, "n1", "c1", "lvm"]
        ran = self.machine.run(words, input=wire.dump(request), check=False)
        assert len(ran.stdout.splitlines()) == 1, ran
        assert ran.returncode, ran

    def refusal(self, method: str, *arguments: Any, **other: Any) -> str:
        """The sentence with which a request is refused, behind its class's name."""
        try:
            result = self.ask(method, *arguments, **other)
        except ExtStorageError as error:
            return f"{type(error).__name__}: {error}"
        raise AssertionError(f"{method} is not refused: {result}")

    def create(self, name: str = "v1", mib: int = 16, **other: Any) -> Volume:
        volume: Volume = self.ask("create_volume", name, mib, **other)
        return volume

    def volume(self, name: str = "v1", **other: Any) -> Volume:
        volume: Volume = self.ask("get_volume", name, **other)
        return volume

    def export(self, volume: Volume, initiator: Initiator, **other: Any) -> Disk:
        """Export to an initiator, for the node of its name."""
        told = {"initiator": initiator.name}
        connection = self.ask("initialize_connection", volume, told, node=initiator.node, **other)
        return Disk(connection["data"])

    def hold(self, volume: Volume, initiator: Initiator, mode: str = "exclusive") -> Holder:
        """Make the node of an initiator the only holder."""
        holder = Holder(initiator.node, mode, initiator.name)
        old: Holders = self.ask("read_holders", volume, node=initiator.node)
        assert self.ask("replace_holders", volume, old, [holder], node=initiator.node)
        return holder

    # --- what is really there ---------------------------------------------------------------------

    def lvs(self) -> set[str]:
        """The logical volumes, without the thin pool."""
        return set(self.sh("lvs --noheadings -o lv_name vg0").split()) - {"thin"}

    def exported(self) -> dict[str, list[str]]:
        """Every target with the initiators that may log in."""
        script = (
            "cd /sys/kernel/config/target/iscsi 2>/dev/null || exit 0; for t in iqn.*; do"
            " [ ! -e $t ] || echo $t $(ls $t/tpgt_1/acls); done"
        )
        lines = [line.split() for line in self.sh(script).splitlines()]
        return {target: initiators for target, *initiators in lines}

    def objects(self) -> list[str]:
        """Every block device that the target has open."""
        return self.sh("cd /sys/kernel/config/target/core; ls -d iblock_*/*.* 2>/dev/null || true").split()

    def fill(self, name: str) -> None:
        """Write a logical volume full of 0xff."""
        self.sh(f"tr '\\0' '\\377' </dev/zero | dd of=/dev/vg0/{name} bs=1M iflag=fullblock || true")

    def read(self, name: str) -> bytes:
        """Which bytes there are in a logical volume."""
        code = "import sys; print(bytes(sorted(set(open(sys.argv[1], 'rb').read()))).hex())"
        return bytes.fromhex(self.machine.python(code, f"/dev/vg0/{name}").strip())

    def state(self, name: str = "v1") -> dict[str, Any]:
        """A volume's file; empty if there is none."""
        text = self.sh(f"cat /var/lib/ganeti-extstorage/lvm/vg0/{name} 2>/dev/null || true")
        told: dict[str, Any] = json.loads(text or "{}")
        return told

    def script(self, action: str, name: str = "v1", **variables: str) -> str:
        """Run an executable of the provider on the storage machine; what it says on stderr."""
        told = {"VOL_NAME": name, "EXTP_PROVIDER": "lvm", "EXTP_ACCESS": "kernelspace", **variables}
        words = ["env", *(f"{key}={value}" for key, value in told.items()), f"{PROVIDER}/{action}"]
        ran = self.machine.run(words, check=False)
        assert (ran.returncode == 0) == (ran.stderr == ""), ran
        return f"{ran.returncode}: {ran.stderr}" if ran.returncode else ""


class Initiator:
    """A machine that uses disks, with Linux's own initiator."""

    def __init__(self, machine: Node, node: str) -> None:
        self.machine = machine
        self.node = node

    @property
    def name(self) -> str:
        text = self.machine.run(["cat", "/etc/iscsi/initiatorname.iscsi"]).stdout
        return text.strip().partition("=")[2]

    def login(self, disk: Disk) -> int:
        """Log in as the disk's connection says; returns iscsiadm's exit status."""
        told = {
            "node.session.auth.authmethod": disk.data["auth_method"],
            "node.session.auth.username": disk.data["auth_username"],
            "node.session.auth.password": disk.data["auth_password"],
            "node.session.auth.username_in": disk.data["mutual_auth_username"],
            "node.session.auth.password_in": disk.data["mutual_auth_password"],
            "node.session.initial_login_retry_max": "1",
            "node.session.timeo.replacement_timeout": "5",
        }
        node = f"iscsiadm -m node -T {disk.iqn} -p {disk.portal}"
        words = [word for key, value in told.items() if value for word in ("-n", key, "-v", value)]
        self.machine.run(f"{node} -o new && {node} -o update {shlex.join(words)}")
        return self.machine.run(f"{node} --login", check=False).returncode

    def device(self, disk: Disk) -> str:
        """The kernel's name of the disk, found by its number, which takes a moment after a login."""
        script = (
            f"wwn={disk.data['wwn']}; for i in $(seq 600); do for d in /sys/block/sd*; do"
            ' [ "$(cat $d/device/wwid)" != $wwn ] || [ ! -b /dev/${d##*/} ] || { echo ${d##*/}; exit; };'
            " done; sleep 0.1; done"
        )
        return self.machine.run(f"({script}) 2>/dev/null").stdout.strip()

    def write(self, disk: Disk, text: str) -> bool:
        """Write past the cache; whether that worked."""
        script = (
            f"printf %s {shlex.quote(text)} | dd of=/dev/{self.device(disk)} bs=512 conv=sync oflag=direct"
        )
        return self.machine.run(["sh", "-c", script], check=False).returncode == 0

    def read(self, disk: Disk) -> str:
        """What is at the beginning, past the cache; empty if it can't be read."""
        script = f"dd if=/dev/{self.device(disk)} bs=512 count=1 iflag=direct | tr -d '\\0'"
        return self.machine.run(["sh", "-c", script], check=False).stdout

    def logout(self) -> None:
        """End all sessions, and forget how they were made."""
        script = "iscsiadm -m node -u; iscsiadm -m node -o delete; rm -rf /etc/iscsi/nodes/*"
        self.machine.run(["sh", "-c", script], check=False)
