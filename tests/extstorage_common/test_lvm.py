# SPDX-License-Identifier: Apache-2.0
"""What of the lvm backend needs no kernel: names, tags, addresses, and the file of a volume."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from extstorage_common.backends import lvm_state, lvm_thick
from extstorage_common.backends.base import Holder
from extstorage_common.backends.lvm_commands import MAKER, Lvm, Row, lv_name, maker_tag, remove_half_made
from extstorage_common.backends.lvm_exports import Exports
from extstorage_common.backends.lvm_state import BadState, State
from extstorage_common.config import Pool
from extstorage_common.deadline import Deadline
from extstorage_common.errors import BeingMade, NoSpace, TimedOut
from extstorage_common.targets import iscsi, iscsi_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
GROUPS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9.-]{0,39}\Z")


def row(**told: str) -> Row:
    """A row of LVM's report."""
    fields = {
        "lv_name": "v1",
        "lv_size": "16777216",
        "lv_attr": "Vwi-a-tz--",
        "lv_tags": "gx.made=c1/n1/2026-01-01T00:00:00Z/thin-create,gx.name=v1",
        "origin": "",
        "data_percent": "",
        "metadata_percent": "",
        "zero": "",
        "vg_uuid": "5eMIYe-wTFr-oaJX-4s2i-kAKB-ae9E-AsHcna",
        "vg_size": "0",
        "vg_free": "0",
        "vg_extent_size": "4194304",
    }
    return Row({**fields, **told})


def exports() -> Exports:
    pool = Pool("p", "lvm", "", {"volume_group": "vg0", "portals": ("192.0.2.1:3260",)})
    return Exports(Lvm(pool, Deadline(1)))


@given(GROUPS, NAMES)
def test_every_name_has_one_that_lvm_takes(group: str, name: str) -> None:
    lv = lv_name(group, name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", lv)
    assert not lv.startswith(("snapshot", "pvmove"))
    mangled = f"{group}-{lv}".replace("-", "--")
    assert len(mangled) + len("-real") < 128
    assert lv_name(group, name) == lv


@given(GROUPS, NAMES, NAMES)
def test_two_names_never_meet(group: str, one: str, other: str) -> None:
    assume(one != other)
    assert lv_name(group, one) != lv_name(group, other)


def test_ganetis_names_stay_as_they_are() -> None:
    name = "5f2c1b1e-1111-2222-3333-444455556666.ext.disk0.snap"
    assert lv_name("vg0", name) == name


@pytest.mark.parametrize("name", ["a_mlog", "snapshot1", "pvmove0", "gx-1", "x" * 128, "-".join("x" * 60)])
def test_names_that_lvm_keeps_for_itself(name: str) -> None:
    assert re.fullmatch(r"gx-[0-9a-f]{32}", lv_name("vg0", name))


@given(NAMES)
def test_names_of_iscsi(name: str) -> None:
    """A target's name is valid, differs from every other's, and stays the same."""
    export = exports().of(row(lv_tags=f"gx.name={name}"))
    assert iscsi_names.is_name(export.iqn)
    assert re.fullmatch(r"iqn\.\d{4}-\d\d\.[a-z]+\.[a-z]+\.[a-z]+:[0-9a-f]{12}:[a-z0-9.-]+", export.iqn)
    assert re.fullmatch(r"naa\.6001405[0-9a-f]{25}", export.wwn)
    assert "/" not in export.name


def test_a_rebuilt_export_is_the_same_disk() -> None:
    one, again = exports().of(row()), exports().of(row(lv_size="33554432"))
    assert (one.iqn, one.serial, one.wwn) == (again.iqn, again.serial, again.wwn)
    other = exports().of(row(vg_uuid="other"))
    assert not {one.iqn, one.serial, one.wwn} & {other.iqn, other.serial, other.wwn}


@pytest.mark.parametrize(
    ("text", "portals"),
    [
        ("192.0.2.1", ("192.0.2.1:3260",)),
        ("192.0.2.1:3261, 2001:db8::1", ("192.0.2.1:3261", "[2001:db8::1]:3260")),
        ("[2001:DB8:0::1]:5", ("[2001:db8::1]:5",)),
    ],
)
def test_portals(text: str, portals: tuple[str, ...]) -> None:
    assert iscsi.Portals().parse(text) == portals


@pytest.mark.parametrize(
    "text", ["none", "", "storage", "192.0.2.1:0", "192.0.2.1:x", "192.0.2.300", "::1:99999x"]
)
def test_no_portals(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        iscsi.Portals().parse(text)


@pytest.mark.parametrize("text", ["", "n1", "iqn.2026-01.X:y", "iqn.2026-01.x/../y", "iqn." + "x" * 230])
def test_what_is_no_initiator(text: str) -> None:
    assert not iscsi_names.is_name(text)


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXTSTORAGE_STATE_DIR", str(tmp_path))
    return tmp_path / "lvm/vg0"


def test_state_survives(state_dir: Path) -> None:
    state = lvm_state.load("vg0", "v1", "v1")
    state.attach("n1", "iqn.a:1")
    state.attach("n2", "iqn.a:2")
    state.metadata = "caf\N{LATIN SMALL LETTER E WITH ACUTE} \udcff"
    state.replace_holders([Holder("n1", "exclusive", "iqn.a:1", "now")])
    lvm_state.save("vg0", "v1", state)
    again = lvm_state.load("vg0", "v1", "v1")
    assert again.dump() == state.dump()
    assert [vars(holder) for holder in again.holders.entries] == [vars(state.holders.entries[0])]
    assert (state_dir / "v1").stat().st_mode & 0o777 == 0o600
    assert state_dir.stat().st_mode & 0o777 == 0o700
    assert lvm_state.known("vg0") == ["v1"]


def test_secrets_are_kept_until_detach_and_never_shared() -> None:
    state = State("v1", {})
    state.attach("n1", "iqn.a:1")
    state.attach("n2", "iqn.a:2")
    before = state.dump()
    state.attach("n1", "iqn.a:1")
    assert state.dump() == before
    secrets = [
        value for one in state.attachments.values() for key, value in one.items() if key != "initiator"
    ]
    assert len(set(secrets)) == 8
    assert all(12 <= len(value) <= 255 for one in state.attachments.values() for value in [one["password"]])
    del state.attachments["n1"]
    state.attach("n1", "iqn.a:1")
    assert state.dump() != before


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 2, "volume": "v1"}', '{"version": 1, "volume": "v2"}']
)
def test_a_damaged_file_is_no_empty_one(state_dir: Path, content: str) -> None:
    os.makedirs(state_dir)
    (state_dir / "v1").write_text(content)
    with pytest.raises(BadState, match=str(state_dir / "v1")):
        lvm_state.load("vg0", "v1", "v1")


def test_a_living_maker_is_not_disturbed() -> None:
    key, _, value = maker_tag("n1").partition("=")
    assert key == MAKER
    with pytest.raises(BeingMade, match=f"process {os.getpid()} for node n1"):
        remove_half_made(exports().lvm, row(lv_tags=f"gx.name=v1,{MAKER}={value}"))


def test_what_timed_out_is_left_to_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time is left for a removal either, and its failure would be all that is told."""

    class Recorder(Lvm):
        removed: tuple[str, ...] = ()

        def create_thick(self, lv: str, tags: Sequence[str], size: int, *words: str) -> None:
            assert any(tag.startswith(MAKER) for tag in tags)

        def remove(self, lv: str) -> None:
            self.removed += (lv,)

    lvm = Recorder(Pool("p", "lvm", "", {"volume_group": "vg0"}), Deadline(1))
    for error, removed in ((TimedOut(seconds=1, doing="writing zeros"), ()), (NoSpace(), ("v1", "v1+grow"))):
        monkeypatch.setattr(lvm_thick, "zero", raising(error))
        with pytest.raises(type(error)):
            lvm_thick.make(lvm, "v1", [], 1 << 20, "n1")
        with pytest.raises(type(error)):
            lvm_thick.extend(lvm, {}, row(lv_size="0"), 1 << 20, "n1")
        assert lvm.removed == removed


def raising(error: Exception) -> Callable[..., None]:
    """A function that only raises."""

    def function(*_: object) -> None:
        raise error

    return function
