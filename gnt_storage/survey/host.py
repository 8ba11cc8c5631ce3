# SPDX-License-Identifier: Apache-2.0
"""What one node tells of the machine that it is, whatever providers it has.

Sent to the nodes as ``survey.agent`` is: it imports the standard library only.
"""

from __future__ import annotations

import os
import platform
import site
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Any

LOGS = "/var/log/ganeti/extstorage"
CONFIGURATION = os.environ.get("EXTSTORAGE_CONFIG_DIR", "/etc/ganeti/extstorage")
INITIATOR = "/etc/iscsi/initiatorname.iscsi"
ISCSI_NODES = "/etc/iscsi/nodes"
OUR_ISCSI_NODE = "# ganeti-extstorage"
"""How a record of Open-iSCSI's begins that ``extstorage_common.connectors.iscsi_records`` wrote."""
SYSFS = "/sys"
PACKAGES = (
    *("ganeti", "ganeti-extstorage", "python3-rbd", "librbd1", "ceph-common"),
    *("open-iscsi", "multipath-tools", "lvm2"),
)
PYTHON_PACKAGES = ("os-brick", "paramiko")
"""May come from Debian or from pip; as the scripts do, the local one is taken first."""

SOCKETS = {
    "iscsid": "@ISCSIADM_ABSTRACT_NAMESPACE",
    "multipathd": "@/org/kernel/linux/storage/multipathd",
}
"""Where the daemons listen. systemd may listen in their place and start them when they are needed."""
LISTENS = 1 << 16
"""In the flags of /proc/net/unix: the kernel's __SO_ACCEPTCON."""


def host() -> dict[str, Any]:
    """Everything, as parts of the survey's document.

    - ``python``, ``kernel``, ``packages`` (name: version), ``initiator`` (the iSCSI name, or ``""``),
    - ``daemons``: those of ``SOCKETS`` that listen,
    - ``logs``: ``there`` (whether Ganeti's directory exists), ``oldest`` (the age of a file in it, in days),
    - ``configuration`` (file: [mode, owner]),
    - ``attachments``: [volume, provider, state] of each record,
    - ``targets``: the iSCSI targets that the suite logs in to here though no attachment needs them,
    - ``activated``: [volume, provider, name] of what this node itself made of a volume's content.
    """
    records = _records()
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "packages": {**_packages(), **_python_packages()},
        "daemons": _daemons(),
        "initiator": _initiator(),
        "logs": {"there": os.path.isdir(LOGS), "oldest": _days_of_oldest(LOGS)},
        "configuration": _modes(CONFIGURATION),
        "attachments": [
            [name, one.get("provider", ""), one.get("state", "")] for name, one in records.items()
        ],
        "targets": _forgotten_targets(),
        "activated": list(_activated(records)),
    }


def _packages() -> dict[str, str]:
    try:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n", *PACKAGES],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return {}
    words = [line.split() for line in done.stdout.splitlines()]
    return {word[1]: word[2] for word in words if len(word) == 3 and word[0] == "installed"}


def _python_packages() -> dict[str, str]:
    path = site.getsitepackages()
    versions: dict[str, str] = {}
    for package in PYTHON_PACKAGES:
        for distribution in metadata.distributions(name=package, path=path):
            versions.setdefault(package, distribution.version)
    return versions


def _daemons() -> list[str]:
    listening = set()
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="backslashreplace") as lines:
            for line in list(lines)[1:]:
                words = line.split(None, 7)
                if len(words) == 8 and int(words[3], 16) & LISTENS:
                    listening.add(words[7].rstrip("\n"))
    except OSError:
        pass
    return sorted(daemon for daemon, socket in SOCKETS.items() if socket in listening)


def _initiator() -> str:
    try:
        with open(INITIATOR, encoding="utf-8", errors="backslashreplace") as lines:
            names = [line.partition("=")[2].strip() for line in lines if line.startswith("InitiatorName=")]
    except OSError:
        return ""
    return names[0] if names else ""


def _days_of_oldest(directory: str) -> int:
    times = [time.time()]
    try:
        with os.scandir(directory) as files:
            for file in files:
                times.append(file.stat(follow_symlinks=False).st_mtime)
    except OSError:
        pass
    return int((times[0] - min(times)) / 86400)


def _modes(directory: str) -> dict[str, list[Any]]:
    modes = {}
    try:
        for name in sorted(os.listdir(directory)):
            status = os.stat(os.path.join(directory, name))
            modes[os.path.join(directory, name)] = [f"{status.st_mode & 0o7777:04o}", status.st_uid]
    except OSError:
        pass
    return modes


def _records() -> dict[str, dict[str, str]]:
    """The records of attachments by volume (see ``extstorage_common.attachments``)."""
    found = {}
    for path in _record_files():
        try:
            with open(path, encoding="utf-8", errors="backslashreplace") as lines:
                found[os.path.basename(path)] = dict(line.rstrip("\n").partition(" ")[::2] for line in lines)
        except OSError:
            continue  # detached meanwhile
    return found


def _record_files() -> list[str]:
    directory = os.path.join(os.environ.get("EXTSTORAGE_RUN_DIR", "/run/ganeti-extstorage"), "attachments")
    return [os.path.join(directory, volume) for volume in _entries(directory)]


def _forgotten_targets() -> list[str]:
    """The targets of our records in Open-iSCSI's database, less those that an attachment has kept.

    The database is read first: an attachment is noted before its target is.
    """
    ours = [target for target in _entries(ISCSI_NODES) if _has_our_node(os.path.join(ISCSI_NODES, target))]
    needed: set[str] = set()
    for path in _record_files():
        try:
            with open(path, encoding="utf-8", errors="backslashreplace") as lines:
                needed.update(word for line in lines if line.startswith("kept ") for word in line.split()[2:])
        except OSError:
            continue
    return [target for target in ours if target not in needed]


def _has_our_node(directory: str) -> bool:
    files = [os.path.join(directory, name) for name in _entries(directory)]
    return any(os.path.isfile(file) and _first_line(file) == OUR_ISCSI_NODE for file in files)


def _activated(records: dict[str, dict[str, str]]) -> Iterator[list[str]]:
    """A guest's LVM or RAID that this node activated: what the kernel says holds a device of ours."""
    for volume, record in records.items():
        file, _, expected = record.get("identity", "").partition(" ")
        # Else the device may be somebody else's by now.
        if file and _first_line(file) == expected:
            for holder in _holders(os.path.basename(os.path.realpath(record["device"]))):
                yield [volume, record.get("provider", ""), holder]


def _holders(device: str) -> list[str]:
    """The names of what holds a device or a partition of it."""
    directory = os.path.join(SYSFS, "class/block", device)
    found = []
    for part in ("", *(entry for entry in _entries(directory) if entry.startswith(device))):
        for holder in _entries(os.path.join(directory, part, "holders")):
            found.append(_first_line(os.path.join(SYSFS, "class/block", holder, "dm/name")) or holder)
    return found


def _entries(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _first_line(file: str) -> str:
    try:
        with open(file, encoding="utf-8", errors="backslashreplace") as lines:
            return lines.readline().rstrip("\n")
    except OSError:
        return ""
