# SPDX-License-Identifier: Apache-2.0
"""CLIQ's grammar (the reference's section 1.2) and the codes of lines that break it (1.4)."""

from __future__ import annotations

import pytest

from tests.appliances.lefthand import grammar
from tests.appliances.lefthand.client import Client


@pytest.mark.parametrize(
    ("line", "name", "result", "status"),
    [
        ("createVolume volumeName", "CliqParameterFormat", "80001003", 130),
        ("createVolume size=10 volumeName=v clusterName=c1", "CliqParameterFormat", "80001003", 130),
        ("createVolume size=1.5GB volumeName=v clusterName=c1", "CliqParameterFormat", "80001003", 130),
        ('createVolume description="a', "CliqParameterFormat", "80001003", 130),
        ("getVolumeInfo volumeName=a volumename=b", "CliqParameterRepeat", "80001004", 131),
        ("volumeName=v1", "CliqMissingMethod", "80001005", 132),
        ("createVolume volumeName=v1 clusterName=c1", "CliqMissingParameter", "80001006", 133),
        ("createVol volumeName=v1", "CliqUnrecognizedCommand", "80001007", 134),
    ],
)
def test_lines_that_are_wrong(array: Client, line: str, name: str, result: str, status: int) -> None:
    """1.4: the code, in lower-case hexadecimal without 0x, and the exit status that mirrors it."""
    told = array.run(line)
    assert (told.name, told.result, told.status) == (name, result, status)


def test_verbs_and_parameters_have_no_case(array: Client) -> None:
    """1.2: case-insensitive; values keep theirs."""
    array.ok("CREATEVOLUME VOLUMENAME=Big clustername=c1 Size=1gb")
    assert array.info("Big")["name"] == "Big"
    assert array.run("getVolumeInfo volumeName=big").name == "CliqVolumeNotFound"


def test_the_verb_as_a_parameter(array: Client) -> None:
    """1.2: ``method=``, and parameters in any order."""
    array.ok("size=1GB clusterName=c1 method=createVolume volumeName=v1")
    assert array.info()["size"] == str(1 << 30)


@pytest.mark.parametrize(
    ("word", "thin"), [("1", "true"), ("true", "true"), ("0", "false"), ("false", "false")]
)
def test_booleans(array: Client, word: str, thin: str) -> None:
    """1.2: four words, and no other."""
    array.volume("v1", f"size=1GB thinProvision={word}")
    assert array.info()["thinProvision"] == thin
    assert (
        array.run("createVolume volumeName=v2 clusterName=c1 size=1GB thinProvision=2").result == "80001003"
    )


def test_quoted_values(array: Client) -> None:
    """1.2: double quotes keep blanks in a value."""
    array.volume("v1", 'size=1GB description="vep01-02 datastore"')
    assert array.info()["description"] == "vep01-02 datastore"


def test_composite_values(array: Client) -> None:
    """1.2: a semicolon makes a list, and a short one repeats its last element."""
    array.ok("createVolume volumeName=v1;v2;v3 clusterName=c1 size=1GB;2GB")
    sizes = [int(array.info(name)["size"]) >> 30 for name in ("v1", "v2", "v3")]
    assert sizes == [1, 2, 2]


@pytest.mark.parametrize(("unit", "shift"), [("KB", 10), ("MB", 20), ("GB", 30), ("TB", 40), ("PB", 50)])
def test_units(unit: str, shift: int) -> None:
    """1.2: powers of 1024."""
    assert grammar.parse(f"x size=3{unit}").parameters.size("size") == 3 << shift


def test_a_semicolon_in_a_name_is_two_names(array: Client) -> None:
    """1.2: which is why it must never be in one, quoted or not."""
    array.volume("a")
    array.volume("b")
    array.ok('deleteVolume volumeName="a;b" prompt=false')
    assert not array.array.group.volumes
