# SPDX-License-Identifier: Apache-2.0
"""What ``verify`` checks of a pool of the ``rbd`` backend; nothing that it does lasts."""

from __future__ import annotations

import os
import stat

from extstorage_common.backends.rbd_errors import CephRefused
from extstorage_common.backends.rbd_options import FEATURES
from extstorage_common.errors import BadConfiguration, NodeUnfit, SystemRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from extstorage_common.backends.base import Check
    from extstorage_common.backends.rbd import RbdBackend
    from extstorage_common.backends.rbd_client import Client

KERNEL_FEATURES = "/sys/bus/rbd/supported_features"
NO_SNAPSHOT = 1 << 48
"""The number of a snapshot, higher than any pool has reached."""
NO_ADDRESS = "nobody:0/1"
"""An address that the check of capabilities lets pass, and that the monitors then refuse as invalid."""


def checks(backend: RbdBackend) -> Sequence[Check]:
    """The checks by name."""
    return (
        ("keyring", lambda: _check_keyring(backend)),
        ("pool", lambda: _check_pool(backend)),
        ("capabilities", lambda: _check_capabilities(backend)),
        ("features", lambda: _check_features(backend)),
    )


def _check_keyring(backend: RbdBackend) -> None:
    keyring = backend.pool["keyring"]
    try:
        found = os.stat(keyring)
    except OSError as error:
        reason = f"[{backend.pool.name}] keyring = {keyring}: {error.strerror}"
        raise BadConfiguration(file=backend.pool.file, reason=reason) from error
    if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.geteuid():
        reason = f"{keyring} must belong to root alone: chown root {keyring}; chmod 600 {keyring}"
        raise BadConfiguration(file=backend.pool.file, reason=reason)


def _check_pool(backend: RbdBackend) -> None:
    backend.pool_uuid()
    if backend.pool["data_pool"]:
        backend.client.open_pool(backend.pool["data_pool"])


def _check_capabilities(backend: RbdBackend) -> None:
    """Images, objects beside them, snapshots, and the blocklist: each asked for something void of effect."""
    client = backend.client
    client.write_probe()
    with client.answers("listing the images"):
        client.rbd.RBD().list(client.ioctx)
    with client.answers("making snapshots"):
        try:
            client.ioctx.remove_self_managed_snap(NO_SNAPSHOT)
        except client.rados.ObjectNotFound:
            pass
    _check_blocklist(client)


def _check_blocklist(client: Client) -> None:
    """Send the monitors the command itself: Ceph's library would refuse to send such an address."""
    try:
        client.monitor("osd blocklist", blocklistop="add", addr=NO_ADDRESS, expire=1.0)
    except CephRefused:
        what = "adding to the blocklist, which is how a dead node is fenced"
        raise CephRefused(user=client.user, what=what, keyring=client.pool["keyring"]) from None
    except SystemRefused:
        pass


def _check_features(backend: RbdBackend) -> None:
    """Where this kernel has its Ceph client loaded: whether it can map what would be made."""
    if backend.connectors_of(backend.pool) != ("rbd",):
        return
    try:
        with open(KERNEL_FEATURES, encoding="ascii") as file:
            supported = int(file.read(), 16)
    except OSError:
        return  # the check of the connector says what is wrong
    missing = [name for name in backend.pool["image_features"] if not FEATURES[name] & supported]
    if missing:
        reason = f"its kernel can't map images with {', '.join(missing)}; leave that out of image_features"
        raise NodeUnfit(reason=reason)
