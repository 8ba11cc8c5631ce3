# SPDX-License-Identifier: Apache-2.0
"""The records of Open-iSCSI's node database: how to log in to a target, secrets included.

``iscsiadm`` takes a secret only on its command line, where every process of the machine can read it. But
it keeps what it was told in a file for each portal of a target, and that file is written here, for root
alone, before ``iscsiadm`` is asked to log in. What a record does not say is what
``/etc/iscsi/iscsid.conf`` says. ``iscsid`` reads it again when it is started anew, so it stays as long as
the session. Ours begin with a line that tells them from others.
"""

from __future__ import annotations

import os

from extstorage_common.errors import Refused
from extstorage_common.records import unlink_if_there
from extstorage_common.targets.iscsi_names import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NODES = "/etc/iscsi/nodes"
OURS = "# ganeti-extstorage"
LOGIN_SECONDS = 10
"""How long a portal may take to answer; Open-iSCSI's default is 15, tried eight times."""
SECRETS = {
    "auth_username": "username",
    "auth_password": "password",
    "mutual_auth_username": "username_in",
    "mutual_auth_password": "password_in",
}


class BadConnection(Refused):
    template = "the storage gave {what} '{value}', with which Open-iSCSI can't log in"


class Portal:
    """One way to one target: its name, an address and a port.

    Raises BadConnection for names that would not be one file, or one line of it.
    """

    def __init__(self, iqn: str, portal: str) -> None:
        address, _, port = portal.rpartition(":")
        self.iqn = iqn
        self.address = address.strip("[]")
        self.port = port
        if not is_name(iqn):
            raise BadConnection(what="the target name", value=iqn)
        if (
            not port.isdecimal()
            or not self.address.replace(":", "").replace(".", "").replace("-", "").isalnum()
        ):
            raise BadConnection(what="the portal", value=portal)

    def __str__(self) -> str:
        """As ``iscsiadm`` and connections write it: ``192.0.2.1:3260``, ``[2001:db8::1]:3260``."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def record(self) -> str:
        """The record's file, in the form in which a portal's group is not known before the login."""
        return f"{NODES}/{self.iqn}/{self.address},{self.port}"


def write(portal: Portal, data: Mapping[str, Any], seconds: float = LOGIN_SECONDS) -> None:
    """Replace whatever record there is of this portal. Raises BadConnection.

    ``seconds`` are what the call has left: the daemon shall give up a login before that, since it would
    go on with it alone, and log in perhaps when nobody wants it any more.

    Not in one step: only the login that follows depends on it, and what a power cut leaves (an empty
    file, with some luck) is replaced by the next login in the same way.
    """
    text = _text(portal, data, max(1, min(LOGIN_SECONDS, int(seconds / 2))))
    os.makedirs(os.path.dirname(portal.record), mode=0o700, exist_ok=True)
    remove(portal, directory=False)
    fd = os.open(portal.record, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def remove(portal: Portal, directory: bool = True) -> None:
    """Remove every record of this portal; with the last portal's, the target's directory, too."""
    home = os.path.dirname(portal.record)
    for path in _of_discovery(portal):
        for interface in os.listdir(path):
            unlink_if_there(f"{path}/{interface}")
        os.rmdir(path)
    unlink_if_there(portal.record)
    if directory and os.path.isdir(home) and not os.listdir(home):
        os.rmdir(home)


def is_foreign(portal: Portal) -> bool:
    """Whether there is a record of this portal that was not written here; an empty one is nobody's."""
    if any(os.path.isdir(path) for path in _of_discovery(portal)):
        return True
    try:
        with open(portal.record, encoding="utf-8", errors="replace") as file:
            first = file.readline()
            return bool(first) and first.rstrip("\n") != OURS
    except FileNotFoundError:
        return False


def _of_discovery(portal: Portal) -> list[str]:
    """ADDRESS,PORT,GROUP, which discovery makes: a directory with a file for each interface."""
    home = os.path.dirname(portal.record)
    names = os.listdir(home) if os.path.isdir(home) else []
    return [f"{home}/{name}" for name in names if name.startswith(f"{portal.address},{portal.port},")]


def _text(portal: Portal, data: Mapping[str, Any], login_seconds: int) -> str:
    lines = {
        "node.name": portal.iqn,
        "node.tpgt": "-1",
        "node.startup": "manual",
        "node.leading_login": "No",
        "iface.iscsi_ifacename": "default",
        "iface.transport_name": "tcp",
        "node.session.nr_sessions": "1",
        "node.session.scan": "manual",
        "node.session.initial_login_retry_max": "1",
        **_authentication(data),
        "node.conn[0].address": portal.address,
        "node.conn[0].port": portal.port,
        "node.conn[0].startup": "manual",
        "node.conn[0].timeo.login_timeout": str(login_seconds),
    }
    body = "".join(f"{key} = {value}\n" for key, value in lines.items())
    return f"{OURS}\n# BEGIN RECORD\n{body}# END RECORD\n"


def _authentication(data: Mapping[str, Any]) -> dict[str, str]:
    if data.get("auth_method", "CHAP") != "CHAP":
        return {"node.session.auth.authmethod": "None"}
    lines = {"node.session.auth.authmethod": "CHAP"}
    for key, name in SECRETS.items():
        value = str(data.get(key) or "")
        if value and not (value.isascii() and value.isprintable() and value == value.strip()):
            raise BadConnection(what=key, value="(not shown)")
        if value:
            lines[f"node.session.auth.{name}"] = value
    return lines
