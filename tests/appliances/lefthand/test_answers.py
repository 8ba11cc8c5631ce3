# SPDX-License-Identifier: Apache-2.0
"""The form of answers (the reference's sections 1.3, 1.6) and their codes (1.4)."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tests.appliances.lefthand import codes
from tests.appliances.lefthand.client import Client
from tests.appliances.lefthand.conftest import Install


def test_the_sample_of_a_cluster(install: Install) -> None:
    """1.6: byte by byte, as far as the sample's numbers go."""
    answer = install(space=118889644032).array.execute(
        "admin", "getClusterInfo clusterName=c1 searchDepth=1 verbose=0 output=XML"
    )
    assert answer.status == 0
    assert answer.stdout == (
        '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n'
        '<gauche version="1.0">\n'
        "\n"
        '  <response description="Operation succeeded." name="CliqSuccess" processingTime="423" result="0">\n'
        '    <cluster adaptiveOptimization="false" blockSize="1024" description=""'
        ' maxVolumeSizeReplication1="118889644032" minVolumeSize="262144" name="c1" pageSize="262144"'
        ' spaceTotal="118889644032" storageNodeCount="1" unprovisionedSpace="118889644032" useVip="true">\n'
        '      <nsm ipAddress="10.0.0.2" name="n1"/>\n'
        '      <vip ipAddress="10.0.0.9" subnetMask="255.255.255.0"/>\n'
        "    </cluster>\n"
        "  </response>\n"
        "\n"
        "</gauche>\n"
        "    "
    )


def test_the_sample_of_success(array: Client) -> None:
    """1.6: nothing but a response."""
    answer = array.array.execute("admin", "createServer serverName=s initiator=iqn.x output=XML")
    assert (
        '<response description="Operation succeeded." name="CliqSuccess" processingTime="181" result="0"/>'
        in answer.stdout
    )


@pytest.mark.parametrize(
    ("full_stop", "text"), [(True, "Volume 'x' not found."), (False, "Volume 'x' not found")]
)
def test_not_found(install: Install, full_stop: bool, text: str) -> None:
    """1.4: its own code, exit status 139, and a full stop or none."""
    told = install(full_stop=full_stop).run("getVolumeInfo volumeName=x")
    assert (told.name, told.result, told.status) == ("CliqVolumeNotFound", "8000100c", 139)
    assert told.description == text


def test_codes_mirror_in_the_exit_status() -> None:
    """1.4: the table."""
    table = {
        codes.SUCCESS: ("0", 0),
        codes.NOTHING_DONE: ("1", 1),
        codes.OPERATION_PENDING: ("2", 2),
        codes.OPERATION_ABANDONED: ("3", 3),
        codes.NOTHING_FOUND: ("4", 4),
        codes.SNAPSHOT_SET: ("5", 5),
        codes.VSS_SNAPSHOT_WARNING: ("6", 6),
        codes.PIT_SNAPSHOT_WARNING: ("7", 7),
        codes.PARAMETER_IGNORED: ("8", 8),
        codes.UNEXPECTED: ("80001001", 128),
        codes.XML_ERROR: ("80001002", 129),
        codes.PARAMETER_FORMAT: ("80001003", 130),
        codes.PARAMETER_REPEAT: ("80001004", 131),
        codes.MISSING_METHOD: ("80001005", 132),
        codes.MISSING_PARAMETER: ("80001006", 133),
        codes.UNRECOGNIZED_COMMAND: ("80001007", 134),
        codes.VOLUME_NOT_FOUND: ("8000100c", 139),
    }
    assert {code: (code.text, code.status) for code in table} == table


def test_a_parameter_that_does_not_apply(array: Client) -> None:
    """1.4: CliqParameterIgnored is success."""
    told = array.run("getClusterInfo clusterName=c1 colour=red")
    assert (told.name, told.result, told.status) == ("CliqParameterIgnored", "8", 8)
    assert told.one("cluster").get("name") == "c1"


def test_the_manuals_minimal_answer(install: Install) -> None:
    """1.3: without name and time."""
    told = install(minimal_responses=True).run("getClusterInfo")
    assert (told.result, told.name, told.description) == ("0", None, "Succeeded")


def test_answers_without_prologue_and_with_noise(install: Install) -> None:
    """1.6: variants; what is in front of the first ``<`` is a banner."""
    answer = install(prologue=False, noise="\nMOTD: be nice\n").array.execute("a", "getGroupInfo output=XML")
    assert answer.stdout.startswith("\nMOTD: be nice\n<gauche")
    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring(answer.stdout.encode())


def test_text_for_people(array: Client) -> None:
    """1.1, 1.3: banner, copyright, blocks whose values stand in one column, the state in a word."""
    array.volume()
    text = array.array.execute("admin", "getVolumeInfo volumeName=v1").stdout
    lines = text.split("\n")
    assert lines[1] == "HPE StoreVirtual LeftHand OS Command Line Interface, v12.6.00.0155"
    assert lines[2].startswith("(C) Copyright")
    assert lines[4] == "RESPONSE"
    assert "VOLUME" in [line.strip() for line in lines]
    assert "status          online" in [line.strip() for line in lines]
    assert "size            67108864" in [line.strip() for line in lines]


def test_units_of_a_cluster(install: Install) -> None:
    """1.3: bytes on one array, KiB on another, with the same block size."""
    for in_kib, told in ((False, 118889644032), (True, 116103168)):
        cluster = (
            install(space=118889644032, space_in_kib=in_kib)
            .ok("getClusterInfo clusterName=c1")
            .one("cluster")
        )
        assert (cluster.get("spaceTotal"), cluster.get("blockSize")) == (str(told), "1024")


def test_virtual_addresses(install: Install) -> None:
    """1.3, 1.6: none, one, or several."""
    assert install(vips=()).ok("getClusterInfo").one("cluster").get("useVip") == "false"
    assert install(vips=()).ok("getClusterInfo").all("nsm") == [{"ipAddress": "10.0.0.2", "name": "n1"}]
    two = install(vips=("10.0.0.9", "10.0.1.9")).ok("getClusterInfo clusterName=c1")
    assert [vip["ipAddress"] for vip in two.all("vip")] == ["10.0.0.9", "10.0.1.9"]
    assert two.one("cluster").get("useVip") == "true"


def test_without_a_name_all_clusters_answer(install: Install) -> None:
    """0.3: of which the old driver took the first (its bug 1279897)."""
    told = install(other_clusters=("c0",)).ok("getClusterInfo searchDepth=1")
    assert [one["name"] for one in told.all("cluster")] == ["c1", "c0"]


def test_umlauts(array: Client) -> None:
    """1.6: descriptions are UTF-8."""
    array.volume("v1", "size=1GB description=Größe")
    assert array.info()["description"] == "Größe"
