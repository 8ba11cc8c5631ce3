# SPDX-License-Identifier: Apache-2.0
"""The model's zfs against the reference of Solaris and illumos, section 2.2 (volumes); 4 (names)."""

from __future__ import annotations

import pytest

from tests.appliances.comstar.conftest import GIB, Asked
from tests.appliances.comstar.datasets import Dataset
from tests.appliances.comstar.machine import Comstar

MIB = 1 << 20


def test_create_takes_bytes_and_units(asked: Asked) -> None:
    """2.2 create."""
    asked.ok("zfs create -V 1G tank/a")
    asked.ok(f"zfs create -s -V {GIB} tank/b")
    assert asked.ok("zfs list -H -p -o name,volsize,origin -t volume -r tank") == (
        f"tank/a\t{GIB}\t-\ntank/b\t{GIB}\t-\n"
    )
    assert asked.ok("zfs get -H -p -o value volsize tank/a") == f"{GIB}\n"


def test_reserved_volume_costs_its_size_and_a_sparse_one_nothing(asked: Asked) -> None:
    """2.2 create: -s is no refreservation; space: out of space."""
    asked.ok("zfs create -V 6G tank/a")
    asked.fails("zfs create -V 6G tank/b", "cannot create 'tank/b': out of space")
    asked.ok("zfs create -s -V 100G tank/b")
    assert asked.ok("zfs get -H -p -o value available tank") == f"{4 * GIB}\n"
    assert asked.ok("zfs get -H -p -o value refreservation tank/a tank/b") == f"{6 * GIB}\n0\n"


def test_create_rounds_up_and_set_does_not(asked: Asked) -> None:
    """2.2 create, the text of a size that is no multiple of the block's."""
    asked.ok("zfs create -s -V 1000001 tank/v")
    assert asked.ok("zfs get -H -p -o value volsize tank/v") == "1048576\n"
    asked.fails(
        "zfs set volsize=1048577 tank/v",
        "cannot set property for 'tank/v': 'volsize' must be a multiple of volume block size (8K)",
    )
    asked.ok(f"zfs set volsize={1048576 + 8192} tank/v")


def test_growing_moves_the_reservation_and_shrinking_is_silent(asked: Asked) -> None:
    """2.2 grow."""
    asked.ok("zfs create -V 1G tank/v")
    asked.ok("zfs set volsize=2G tank/v")
    assert asked.ok("zfs get -H -p -o value refreservation tank/v") == f"{2 * GIB}\n"
    asked.fails(
        "zfs set volsize=20G tank/v", "cannot set property for 'tank/v': size is greater than available space"
    )
    asked.ok("zfs set volsize=1G tank/v")


def test_what_is_there_or_is_not(asked: Asked) -> None:
    """2.2 errors."""
    asked.volume()
    asked.fails("zfs create -V 1G tank/v", "cannot create 'tank/v': dataset already exists")
    asked.fails("zfs create -V 1G tank/a/v", "cannot create 'tank/a/v': parent does not exist")
    asked.fails("zfs list tank/w", "cannot open 'tank/w': dataset does not exist")
    asked.fails("zfs destroy tank/w", "cannot open 'tank/w': dataset does not exist")
    asked.ok("zfs create -p -V 1G tank/a/v")


@pytest.mark.parametrize(
    "line", ["zfs", "zfs frobnicate", "zfs create -Z tank/v", "zfs set tank/v", "zfs create"]
)
def test_wrong_usage_is_status_2(asked: Asked, line: str) -> None:
    """2.2 errors: usage errors exit 2."""
    assert asked.ask(line).status == 2


def test_destroy_names_what_is_in_the_way(asked: Asked) -> None:
    """2.2 destroy: children, clones."""
    asked.volume()
    asked.ok("zfs snapshot tank/v@s")
    asked.fails(
        "zfs destroy tank/v",
        "cannot destroy 'tank/v': volume has children\nuse '-r' to destroy the following datasets:\ntank/v@s",
    )
    asked.ok("zfs clone tank/v@s tank/w")
    asked.fails(
        "zfs destroy -r tank/v",
        "cannot destroy 'tank/v': volume has dependent clones\n"
        "use '-R' to destroy the following datasets:\ntank/w",
    )
    asked.fails(
        "zfs destroy tank/v@s",
        "cannot destroy 'tank/v@s': snapshot has dependent clones\n"
        "use '-R' to destroy the following datasets:\ntank/w",
    )
    asked.ok("zfs destroy tank/w")
    asked.ok("zfs destroy -r tank/v")
    assert asked.ok("zfs list -H -t all -o name -r tank") == "tank\n"


def test_volume_of_a_unit_is_busy(asked: Asked) -> None:
    """2.2 destroy: open by COMSTAR."""
    guid = asked.unit()
    asked.fails("zfs destroy tank/v", "cannot destroy 'tank/v': dataset is busy")
    asked.ok(f"stmfadm delete-lu {guid}")
    asked.ok("zfs destroy tank/v")


def test_a_snapshot_keeps_what_was(asked: Asked, machine: Comstar) -> None:
    """2.2 snapshot, clone."""
    asked.volume(size=MIB)
    write(machine, "tank/v", b"before")
    asked.ok("zfs snapshot tank/v@s")
    write(machine, "tank/v", b"later ")
    asked.ok("zfs clone tank/v@s tank/w")
    assert read(machine, "tank/w") == b"before"
    assert asked.ok("zfs get -H -p -o value origin tank/w") == "tank/v@s\n"
    asked.fails("zfs snapshot tank/v@s", "cannot create snapshot 'tank/v@s': dataset already exists")


def test_promote_lets_the_clone_have_the_snapshot(asked: Asked) -> None:
    """2.2 promote."""
    asked.volume()
    asked.ok("zfs snapshot tank/v@s")
    asked.ok("zfs clone tank/v@s tank/w")
    asked.ok("zfs promote tank/w")
    assert asked.ok("zfs get -H -p -o name,value origin tank/v tank/w") == "tank/v\ttank/w@s\ntank/w\t-\n"
    asked.ok("zfs destroy tank/v")


def test_user_properties_are_inherited_but_not_by_clones(asked: Asked) -> None:
    """2.2 read: user properties."""
    asked.ok("zfs set org.example:pool=p tank")
    asked.ok("zfs create -s -V 1G -o org.example:name=v tank/v")
    asked.ok("zfs snapshot -o org.example:more=s tank/v@s")
    asked.ok("zfs clone tank/v@s tank/w")
    get = "zfs get -H -p -o value,source"
    assert asked.ok(f"{get} org.example:pool tank/v") == "p\tinherited from tank\n"
    assert asked.ok(f"{get} org.example:name tank/v@s") == "v\tinherited from tank/v\n"
    assert asked.ok(f"{get} org.example:more tank/v@s") == "s\tlocal\n"
    assert asked.ok(f"{get} org.example:name,org.example:pool tank/w") == "-\t-\np\tinherited from tank\n"
    asked.ok("zfs inherit org.example:name tank/v")
    assert asked.ok(f"{get} org.example:name tank/v") == "-\t-\n"


def test_what_a_user_property_may_be(asked: Asked, machine: Comstar) -> None:
    """2.2 read: a colon, lower case, at most 256 characters; values up to 8192, 1024 on older Solaris."""
    for key in ("name", "a:B", "a:" + "b" * 255, "a b:c"):
        bad = f"cannot set property for 'tank': invalid property '{key}'"
        asked.fails(f"zfs set '{key}=x' tank", bad)
    asked.ok("zfs set a:" + "b" * 254 + "=x tank")
    asked.ok("zfs set a:b=" + "x" * 8191 + " tank")
    machine.zfs.max_value = 1024
    asked.fails(
        "zfs set a:b=" + "x" * 1024 + " tank", "cannot set property for 'tank': property value too long"
    )


def test_names(asked: Asked) -> None:
    """4, ZFS: characters, length."""
    asked.volume("tank/0aA_.:-z")
    for name in ("tank/a%b", "tank/-a", "tank/a'b", "tank//b"):
        assert "invalid character" in asked.ask(f'zfs create -s -V 1M "{name}"').stderr
    asked.fails(
        f"zfs create -s -V 1M tank/{'x' * 251}", f"cannot create 'tank/{'x' * 251}': name is too long"
    )


def test_depth_and_kinds(asked: Asked) -> None:
    """2.2 read: list with a depth and kinds, as the manual has it."""
    asked.ok("zfs create tank/c")
    asked.volume("tank/c/v")
    asked.ok("zfs snapshot tank/c/v@s")
    asked.ok("zfs snapshot tank/c@h1")
    shown = "zfs list -H -p -o name -t filesystem,volume,snapshot"
    assert asked.ok(f"{shown} -d 1 tank/c") == "tank/c\ntank/c/v\ntank/c@h1\n"
    assert asked.ok(f"{shown} -d 0 tank/c") == "tank/c\n"
    assert "tank/c/v@s" in asked.ok(f"{shown} -r tank")


def test_snapshot_is_taken_once_whoever_asks(asked: Asked) -> None:
    """A snapshot's name is given away once, and its properties with it."""
    asked.ok("zfs create tank/c")
    asked.ok("zfs snapshot -o a:b=first tank/c@h1")
    asked.fails(
        "zfs snapshot -o a:b=second tank/c@h1", "cannot create snapshot 'tank/c@h1': dataset already exists"
    )
    assert asked.ok("zfs get -H -o value a:b tank/c@h1") == "first\n"


def test_rename_goes_wrong_where_the_old_name_is_not(asked: Asked) -> None:
    asked.ok("zfs create tank/c")
    asked.volume("tank/c/v")
    asked.ok("zfs rename tank/c tank/d")
    assert asked.ok("zfs list -H -o name -t all -r tank") == "tank\ntank/d\ntank/d/v\n"
    asked.fails("zfs rename tank/c tank/e", "cannot open 'tank/c': dataset does not exist")


def test_zpool_list(asked: Asked) -> None:
    asked.ok("zfs create -V 4G tank/v")
    assert asked.ok("zpool list -H -p -o name,size,free,health") == f"tank\t{10 * GIB}\t{6 * GIB}\tONLINE\n"
    asked.fails("zpool list nopool", "cannot open 'nopool': no such pool")


def data(machine: Comstar, name: str) -> Dataset:
    return machine.datasets.by_name[name]


def write(machine: Comstar, name: str, text: bytes) -> None:
    with machine.datasets.file(data(machine, name)).open("r+b") as stream:
        stream.write(text)


def read(machine: Comstar, name: str) -> bytes:
    return machine.datasets.file(data(machine, name)).read_bytes()[:6]
