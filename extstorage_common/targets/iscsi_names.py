# SPDX-License-Identifier: Apache-2.0
"""What can name a target or an initiator (RFC 3720, 3.2.6): also for nodes, which need no options."""

from __future__ import annotations

from extstorage_common.errors import BadRequest

CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
"""What a part of a name is made of (3.2.6.1); parts are separated by colons."""


class NotAnInitiator(BadRequest):
    template = "'{initiator}' is no initiator's name; see /etc/iscsi/initiatorname.iscsi on the node"


def is_name(text: str) -> bool:
    """Whether this can name an initiator or a target, and a directory of configfs."""
    kinds = text.startswith(("iqn.", "eui.", "naa."))
    return kinds and len(text) < 224 and CHARACTERS.issuperset(text.replace(":", ""))


def check_initiator(name: str) -> None:
    """Raise NotAnInitiator unless this can name an initiator."""
    if not is_name(name):
        raise NotAnInitiator(initiator=name)
