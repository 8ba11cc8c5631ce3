# SPDX-License-Identifier: Apache-2.0
"""Portals and options of iSCSI, whatever the target is."""

from __future__ import annotations

from extstorage_common.config import Choice, Option, Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extstorage_common.config import Pool

PORT = 3260


class Portals(Words):
    """Addresses with a port each, ``192.0.2.1`` or ``192.0.2.1:3260`` or ``[2001:db8::1]:3260``."""

    expects = "addresses separated by commas, each with a port or without"

    def parse(self, text: str) -> tuple[str, ...]:
        words = super().parse(text)
        if not words:
            raise ValueError(text)
        return tuple(self._portal(word) for word in words)

    @staticmethod
    def _portal(word: str) -> str:
        from ipaddress import ip_address

        address, port = word, str(PORT)
        if word.startswith("["):
            address, _, rest = word[1:].partition("]")
            port = rest.removeprefix(":") or port
        elif word.count(":") == 1:
            address, _, port = word.partition(":")
        if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
            raise ValueError(word)
        parsed = ip_address(address)
        return f"[{parsed}]:{port}" if parsed.version == 6 else f"{parsed}:{port}"


CONNECTOR_OPTION = Option(
    "connector",
    Choice("iscsiadm", "os-brick"),
    "iscsiadm",
    "how nodes connect where there is one portal: by iscsiadm alone, or by os-brick, as with several",
)

CHAP_OPTION = Option(
    "chap",
    Choice("one-way", "mutual", "none"),
    "one-way",
    "whether a node must prove who it is, and the target, too; none: the initiator's name is enough",
)


def connectors(pool: Pool) -> tuple[str, ...]:
    """The connectors that nodes need for a pool that has ``portals`` and ``CONNECTOR_OPTION``."""
    several = len(pool["portals"] or ()) > 1 or pool["connector"] == "os-brick"
    return ("iscsi", "os_brick") if several else ("iscsi",)
