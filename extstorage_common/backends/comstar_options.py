# SPDX-License-Identifier: Apache-2.0
"""What a pool of the ``comstar`` backend can say."""

from __future__ import annotations

from extstorage_common.config import AbsolutePath, Choice, Kind, Option, SecretFile, YesNo
from extstorage_common.targets.iscsi import CHAP_OPTION, CONNECTOR_OPTION, Portals
from extstorage_common.targets.iscsi_names import CHARACTERS
from extstorage_common.transports import ssh


class DatasetName(Kind):
    """The name of a ZFS filesystem, ``tank/ganeti``."""

    expects = "the name of a ZFS filesystem, such as tank/ganeti"

    def parse(self, text: str) -> str:
        for part in text.split("/"):
            if (
                not part
                or part[0] in "-."
                or not all(c.isascii() and (c.isalnum() or c in "_.:-") for c in part)
            ):
                raise ValueError(text)
        return text


class IqnPrefix(Kind):
    """How the names of targets begin."""

    expects = "iqn., a year and a month, and a domain backwards, such as iqn.2026-01.org.example"

    def parse(self, text: str) -> str:
        if not text.startswith("iqn.") or len(text) > 150 or not CHARACTERS.issuperset(text.replace(":", "")):
            raise ValueError(text)
        return text


class Word(Kind):
    """One word."""

    expects = "a word"

    def parse(self, text: str) -> str:
        if not text.isprintable() or text.startswith("-") or len(text.split()) != 1:
            raise ValueError(text)
        return text


OPTIONS = (
    *ssh.options(22, "ganeti"),
    Option("dataset", DatasetName(), None, "the ZFS filesystem that the volumes are made in"),
    Option(
        "provisioning",
        Choice("sparse", "reserved"),
        "sparse",
        "sparse: a volume takes space as it is written; reserved: it has it from the beginning",
        owner=True,
    ),
    Option(
        "layout",
        Choice("target", "shared"),
        "target",
        "target: each volume has an iSCSI target of its own; shared: the pool's has a LUN a volume",
    ),
    Option("portals", Portals(), None, "the addresses for iSCSI, with ports if need be"),
    Option(
        "portal_group",
        Word(),
        "",
        "COMSTAR's target portal group with just those addresses; by default a target is at all of them",
    ),
    CONNECTOR_OPTION,
    Option("iqn", IqnPrefix(), "iqn.2026-01.org.ganeti.extstorage", "how the names of targets begin"),
    CHAP_OPTION,
    Option(
        "chap_key_file",
        SecretFile(),
        "",
        "a file of mode 0600 with a line of random text, from which all secrets are made; "
        "the same for all nodes and for all pools of one machine",
    ),
    Option(
        "secret_directory",
        AbsolutePath(),
        "/tmp",
        "where, on the machine, a secret lies in a file of mode 0600 while itadm reads it",
    ),
    Option("pfexec", YesNo(), "yes", "run the commands with the user's rights profiles; root needs none"),
)
