# SPDX-License-Identifier: Apache-2.0
"""What is said to the array is what was meant: one word a value, and never anything else."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from extstorage_common.backends import lefthand_cliq as cliq
from extstorage_common.backends import lefthand_notes as notes
from extstorage_common.backends.base import EXCLUSIVE, SHARED, Holder
from extstorage_common.backends.lefthand_exports import node_of, server_name
from extstorage_common.backends.lefthand_notes import Maker, NoRoomForNote, Note
from extstorage_common.backends.lefthand_rows import array_name, point_name
from extstorage_common.targets import iscsi_names
from tests.appliances.lefthand import grammar
from tests.conftest import Node
from tests.lefthand.conftest import ArraySite

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
NODES = st.from_regex(r"\A[a-z0-9]([a-z0-9.-]{0,38}[a-z0-9])?\Z")
HOSTILE = ["a;b", 'a"b', "a=b", "a\nb", "$(reboot)", "`reboot`", "a b", "a\\b", "a|b", "ä", "a\0b", ""]


@given(st.text())
def test_a_value_is_one_word_or_not_said(value: str) -> None:
    """Whatever the value: the model, which reads as CLIQ does, finds it again, and nothing beside it."""
    try:
        line = cliq.command_line("modifyVolume", {"volumeName": "v1", "description": value})
    except cliq.CannotBeSaid:
        return
    parsed = grammar.parse(line)
    assert parsed.verb == "modifyvolume"
    assert parsed.parameters.given == {"volumename": "v1", "description": value, "output": "XML"}
    assert parsed.parameters.words("description") == [value]


@pytest.mark.parametrize("value", HOSTILE[:6] + HOSTILE[7:-1])
def test_hostile_values_are_never_sent(value: str) -> None:
    with pytest.raises(cliq.CannotBeSaid):
        cliq.quoted("volumeName", value)


@given(st.text())
def test_metadata_comes_back(text: str) -> None:
    assume(not any(0xD800 <= ord(char) < 0xE000 for char in text))
    said = notes.encode(text)
    assert cliq.quoted("description", said or "x")
    assert notes.decode(said) == text


@given(NAMES, st.lists(NODES, max_size=2, unique=True), NAMES, st.text(max_size=300), st.booleans())
def test_a_note_comes_back(name: str, nodes: list[str], origin: str, metadata: str, is_clone: bool) -> None:
    """What counts always does; what gives way to it is a beginning of what was said."""
    assume(not any(0xD800 <= ord(char) < 0xE000 for char in metadata))
    modes = [EXCLUSIVE, SHARED]
    note = Note("thin", name)
    note.version = 12
    note.entries = [Holder(node, modes[index]) for index, node in enumerate(nodes)]
    note.origin = origin if is_clone else ""
    note.cluster = "cluster.example.com"
    note.metadata = metadata
    try:
        text = note.dump(array_name(name), 127)
    except NoRoomForNote:
        assert len(origin) + sum(map(len, nodes)) > 70
        return
    assert len(text) <= 127
    assert cliq.quoted("description", text)
    found = notes.load(text, array_name(name))
    assert found is not None
    assert found.is_of(name)
    assert [(one.node, one.mode) for one in found.entries] == list(zip(nodes, modes, strict=False))
    assert (found.version, found.kind) == (12, "thin")
    found.name, found.is_name_cut = name, False
    assert found.origin == (origin if is_clone else "")
    assert metadata.startswith(found.metadata)
    assert found.cluster in ("", "cluster.example.com")


def test_what_ganeti_has_fits() -> None:
    """A snapshot of Ganeti's, open on two nodes, of a cluster: nothing gives way."""
    name = "5f2c1b1e-1111-2222-3333-444455556666.ext.disk0"
    note = Note("clone", f"{name}.snap")
    note.version = 137
    note.entries = [Holder("node1.example.com", EXCLUSIVE), Holder("node2.example.com", SHARED)]
    note.origin = name
    note.cluster = "cluster.example.com"
    text = note.dump(array_name(note.name), 127)
    assert text == "gx1 clone v:137 x:node1.example.com s:node2.example.com o:+.snap c:cluster.example.com"


@given(NAMES, NAMES)
def test_names(one: str, other: str) -> None:
    """Two volumes never meet on the array, nor do a volume and what is ours beside it."""
    assume(one != other)
    assert array_name(one) != array_name(other)
    assert array_name(one).lower() == array_name(one)
    assert iscsi_names.CHARACTERS.issuperset(array_name(one))
    assert len(array_name(one)) <= 127
    assert point_name(one) not in (array_name(one), array_name(other), point_name(other))
    assert not array_name(one).startswith("gx-claim-")


@given(NODES, NODES, st.sampled_from(["iqn.2026-01.a:1", "iqn.2026-01.a:2"]))
def test_servers(node: str, other: str, initiator: str) -> None:
    """A server tells its node, and each initiator has its own."""
    assert node_of(server_name(node, initiator)) == node
    if node != other:
        assert server_name(node, initiator) != server_name(other, initiator)
    assert server_name(node, "iqn.2026-01.a:3") != server_name(node, initiator)
    assert node_of("gx-someone") == node_of("esx1") == ""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_at_the_door(site: ArraySite, n1: Node, name: str) -> None:
    """The array hears nothing of them."""
    if "\0" not in name:
        for action in ("create", "attach", "remove"):
            n1.fails(2, action, name, VOL_SIZE="16")
    assert site.array.requests() == []


@pytest.mark.parametrize(
    "text", [*HOSTILE, "x" * 5000, "%", "%zz", 'instance name with; everything" = $HOME']
)
def test_hostile_metadata_at_the_array(site: ArraySite, text: str) -> None:
    """It is in the description as one word, however little of it there is room for."""
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    backend.set_metadata(volume, text)
    found = site.backend("n1").describe(volume)["metadata"]
    assert found == text[: len(found)]
    assert len(found) >= min(len(text), 25)
    assert list(site.state()["volumes"]) == ["v1"]
    (line,) = [
        line for line in site.array.requests() if line.startswith("modifyVolume") and " i:" in line
    ] or [""]
    assert set(line) <= set(
        cliq.PLAIN.pattern + 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 "='
    )


def test_a_hostile_initiator(site: ArraySite) -> None:
    backend = site.backend("n1")
    volume = backend.create_volume("v1", 16)
    site.array.requests()
    for name in ("iqn.2026-01.a;b", 'iqn."', "iqn.2026-01.a b", "", "x"):
        with pytest.raises(Exception, match="is no initiator's name"):
            backend.initialize_connection(volume, {"initiator": name})
    assert site.asked() == ["getVolumeInfo"]


@pytest.mark.parametrize("text", ["", "x", "gx1", "gx2 thin", "gx1thin", "thin gx1", "mine"])
def test_other_descriptions(text: str) -> None:
    assert notes.load(text, "v1") is None


@pytest.mark.parametrize("text", ["gx1 thin v:x q:9 z", "gx1 thin  v:1", "gx1 thin x:", "gx1 thin m:a/b"])
def test_descriptions_that_somebody_changed(text: str) -> None:
    """They are read as far as they can be; a maker that can't be understood counts as alive."""
    note = notes.load(text, "v1")
    assert note is not None
    if note.maker is not None:
        assert note.maker.is_alive("n1")


def test_a_maker(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker.this("n1", 30)
    assert maker.is_alive("n1")
    assert maker.is_alive("n2")
    words = maker.text.split("/")
    assert not Maker("/".join([*words[:3], "1", words[4]])).is_alive("n1")
    elsewhere = [words[0], "01234567", *words[2:]]
    assert not Maker("/".join(elsewhere)).is_alive("n1")
    assert Maker("/".join(elsewhere)).is_alive("n2")
    assert not Maker("/".join([*elsewhere[:4], "1"])).is_alive("n2")
