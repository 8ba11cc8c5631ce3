# SPDX-License-Identifier: Apache-2.0
"""What differs between versions, and what nobody could confirm: each a field, for tests to vary."""

from __future__ import annotations

from dataclasses import dataclass

from tests.appliances.lefthand.codes import (
    SERVER_NOT_FOUND,
    SNAPSHOT_NOT_FOUND,
    UNEXPECTED,
    VOLUME_NOT_FOUND,
    Code,
)

MIB = 1 << 20
GIB = 1 << 30


@dataclass
class Facts:
    """One management group with one cluster, as it was installed."""

    group: str = "Lab"
    cluster: str = "c1"
    other_clusters: tuple[str, ...] = ()
    vips: tuple[str, ...] = ("10.0.0.9",)
    nodes: tuple[str, ...] = ("10.0.0.2",)
    space: int = 110 * GIB

    product: str = "HPE StoreVirtual LeftHand OS Command Line Interface"
    version: str = "12.6.00.0155"

    # The answer's form.
    prologue: bool = True
    minimal_responses: bool = False
    """``<response description="Succeeded" result="0"/>``, the manual's shortest sample."""
    noise: str = ""
    """What stands in front of an answer in XML."""
    space_in_kib: bool = False
    """The unit of a cluster's numbers: the public samples contradict each other."""
    full_stop: bool = True
    """Whether "not found" ends with one: it did not in version 8.1."""

    # Codes that no source gives.
    volume_not_found: Code = VOLUME_NOT_FOUND
    snapshot_not_found: Code = SNAPSHOT_NOT_FOUND
    server_not_found: Code = SERVER_NOT_FOUND
    generic: Code = UNEXPECTED
    """What is answered where the description alone tells what is wrong."""

    # Texts that no source gives.
    exists_text: str = "{kind} '{name}' already exists."
    no_space_text: str = "There is not enough space available in cluster '{cluster}'."
    in_use_text: str = "Volume '{name}' is in use: it has connected iSCSI sessions."

    # Behaviour that is known from memory at best.
    deletion_looks: int = 0
    """How often a deleted volume is still told of, as ``deleting``, before it has gone: no source says what
    that attribute is for. Until then its name is taken, and its parent's snapshot a clone point."""
    deletes_snapshots_with_volume: bool = False
    lists_snapshots_by_volume: bool = True
    """Whether ``getSnapshotInfo volumeName=`` is understood."""
    repeated_assignment_is_nothing_done: bool = True
    description_length: int = 127
    name_length: int = 127
    chap_length: int = 12
    mutual_name_is_target: bool = False
    """Whose name the array gives when it proves who it is: its target's, or the server's in CHAP."""
    refuses_deletion_in_use: bool = True
