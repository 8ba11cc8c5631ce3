# SPDX-License-Identifier: Apache-2.0
"""Where things are on this node, and who this node is.

The environment variables named here exist for tests, several nodes on one machine among them.
"""

from __future__ import annotations

import os

DEVICE_DIR = "/dev/ganeti-extstorage"
GANETI_LOG_DIR = "/var/log/ganeti/extstorage"


def config_dir() -> str:
    """The directory with one ``<provider>.conf`` a provider."""
    return os.environ.get("EXTSTORAGE_CONFIG_DIR", "/etc/ganeti/extstorage")


def run_dir() -> str:
    """What this node knows since it was started: attachments, locks."""
    return os.environ.get("EXTSTORAGE_RUN_DIR", "/run/ganeti-extstorage")


def state_dir() -> str:
    """What a machine with storage of its own must not forget: volumes, or what is exported of them."""
    return os.environ.get("EXTSTORAGE_STATE_DIR", "/var/lib/ganeti-extstorage")


def device_dir() -> str:
    """The directory of the stable links that ``attach`` prints."""
    if "EXTSTORAGE_RUN_DIR" in os.environ:
        return os.path.join(run_dir(), "dev")
    return DEVICE_DIR


def log_dir() -> str:
    """The directory with one ``<provider>.log`` a provider."""
    return os.environ.get("EXTSTORAGE_LOG_DIR", "/var/log/ganeti-extstorage")


def ssconf_dir() -> str:
    """The directory of the files with which Ganeti tells every node about the cluster."""
    return os.environ.get("EXTSTORAGE_SSCONF_DIR", "/var/lib/ganeti")


def ssconf(key: str) -> list[str]:
    """The lines of Ganeti's ``ssconf_<key>``; none where this is no Ganeti node."""
    try:
        with open(os.path.join(ssconf_dir(), "ssconf_" + key), encoding="utf-8") as file:
            return file.read().split("\n")[:-1]
    except (FileNotFoundError, NotADirectoryError):
        return []


def cluster_name() -> str:
    """The name of the Ganeti cluster; ``-`` where this is no Ganeti node.

    (A controller works for the cluster of the node that asks.)
    """
    if "EXTSTORAGE_CLUSTER" in os.environ:
        return os.environ["EXTSTORAGE_CLUSTER"]
    return (ssconf("cluster_name") or ["-"])[0]


def offline_nodes() -> list[str]:
    """The nodes that the administrator declared offline (``gnt-node modify -O yes``)."""
    return ssconf("offline_nodes")


def node_name() -> str:
    """This node's name, as Ganeti writes it (a host name alone may be a short one)."""
    if "EXTSTORAGE_NODE" in os.environ:
        return os.environ["EXTSTORAGE_NODE"]
    host = os.uname().nodename
    names = [name for name in ssconf("node_list") if name == host or name.startswith(host + ".")]
    return names[0] if len(names) == 1 else host


def ssh_config() -> str:
    """The configuration file for OpenSSH to use instead of Ganeti's options; none if ``""``."""
    return os.environ.get("EXTSTORAGE_SSH_CONFIG", "")


def boot_id() -> str:
    """A string that is another one after every start of this node."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()
