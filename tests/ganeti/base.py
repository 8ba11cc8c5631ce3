# SPDX-License-Identifier: Apache-2.0
"""The base layer: the packages that every node has, laid over this machine's own root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests import machines
from tests.ganeti import leftovers
from tests.layer import Layer

PACKAGES = (
    # the cluster
    "ganeti", "qemu-system-x86", "openssh-server", "iproute2", "iputils-arping",
    "procps", "socat", "fdisk",
    # what our own package depends on: it is installed in the nodes without a network
    "python3", "python3-click", "python3-rich", "logrotate", "e2fsprogs", "util-linux",
)  # fmt: skip
LAYER = Layer("ganeti", PACKAGES, Path(__file__).with_name("base-layer"))
# What of this machine is not seen there, only the layer's: its own Ganeti, data, programs from no packages.
HIDDEN = (
    *("etc/ganeti", "etc/iscsi", "var/lib/ganeti", "var/log/ganeti", "var/lib/ganeti-extstorage"),
    *("var/log/ganeti-extstorage", "home", "opt", "root", "srv", "usr/local"),
)


def provide(directory: Path) -> None:
    """Make the base layer of the cluster in ``directory``. Raises MachineError with apt's last lines."""
    upper = directory / "base" / "upper"
    upper.mkdir(parents=True)
    mark = leftovers.mark(directory)
    with LAYER.archive(mark) as archive:
        # The attributes are those by which an overlay hides what is below.
        options = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-C", str(upper)]
        subprocess.run(["tar", "-x", "-f", archive, *options], env=machines.environment(mark), check=True)
    for part in HIDDEN:
        (upper / part).mkdir(parents=True, exist_ok=True)
        os.setxattr(upper / part, "trusted.overlay.opaque", b"y")
