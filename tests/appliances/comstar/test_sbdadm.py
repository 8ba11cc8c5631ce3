# SPDX-License-Identifier: Apache-2.0
"""The model's sbdadm against the reference of COMSTAR, section 2.3."""

from __future__ import annotations

from tests.appliances.comstar.conftest import GIB, Asked
from tests.appliances.comstar.machine import Comstar

TABLE = (
    "\n\t      GUID                    DATA SIZE           SOURCE\n"
    "--------------------------------  -------------------  ----------------\n"
)
GENERATED = "600144f0991c8e00000052add63b0001"


def test_create_and_list(asked: Asked) -> None:
    assert asked.ok("sbdadm list-lu") == "", "without units it prints nothing"
    asked.volume()
    row = f"{GENERATED}  1073741824           /dev/zvol/rdsk/tank/v\n"
    assert asked.ok("sbdadm create-lu /dev/zvol/rdsk/tank/v") == f"\nCreated the following LU:\n{TABLE}{row}"
    assert asked.ok("sbdadm list-lu") == f"\nFound 1 LU(s)\n{TABLE}{row}"


def test_failed_create_is_not_status_1(asked: Asked) -> None:
    """2.1: its internal status and one."""
    asked.volume()
    asked.ok("sbdadm create-lu /dev/zvol/rdsk/tank/v")
    reply = asked.ask("sbdadm create-lu /dev/zvol/rdsk/tank/v")
    assert reply.stderr == "sbdadm: filename /dev/zvol/rdsk/tank/v: in use\n"
    assert reply.status not in (0, 1)
    assert asked.ask("sbdadm create-lu /dev/zvol/rdsk/tank/w").stderr == "sbdadm: data file error\n"


def test_import(asked: Asked) -> None:
    asked.volume()
    asked.ok("sbdadm create-lu /dev/zvol/rdsk/tank/v")
    asked.ok(f"sbdadm delete-lu {GENERATED}")
    printed = asked.ok("sbdadm import-lu /dev/zvol/rdsk/tank/v")
    assert printed.startswith("\nImported the following LU:\n")
    assert GENERATED in printed


def test_modify(asked: Asked) -> None:
    asked.volume()
    asked.ok("sbdadm create-lu /dev/zvol/rdsk/tank/v")
    asked.ok("sbdadm modify-lu -s 2g /dev/zvol/rdsk/tank/v")
    assert f"  {2 * GIB} " in asked.ok("sbdadm list-lu")
    asked.ok(f"sbdadm modify-lu -s 3g {GENERATED}")
    assert asked.ask("sbdadm modify-lu -s 3g dev/zvol").stderr.endswith(
        "must be 32 hexadecimal digits long\n"
    )


def test_delete(asked: Asked) -> None:
    asked.fails("sbdadm delete-lu x", "sbdadm: x: must be 32 hexadecimal digits long")
    asked.fails(f"sbdadm delete-lu {GENERATED}", f"sbdadm: {GENERATED}: not found")


def test_files_lose_their_metadata(asked: Asked, machine: Comstar) -> None:
    """Kernel facts: 65536 bytes less."""
    machine.stmf.file_sizes["/data/f"] = GIB
    asked.ok("sbdadm create-lu /data/f")
    assert f"  {GIB - 65536} " in asked.ok("sbdadm list-lu")
