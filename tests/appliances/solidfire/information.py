# SPDX-License-Identifier: Apache-2.0
"""What the cluster tells of itself (section 3.3)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tests.appliances.solidfire.cluster import METHODS, method

if TYPE_CHECKING:
    from tests.appliances.solidfire.cluster import Cluster, Object, Parameters

VERSIONS = ("1.0", "5.0", "6.0", "7.0", "8.0", "9.0", "10.0", "11.0", "12.0", "12.5")


def versions(cluster: Cluster) -> list[str]:
    """The versions of the API that the cluster answers."""
    return [version for version in VERSIONS if float(version) <= cluster.settings.api_version]


@method
def get_cluster_info(cluster: Cluster, parameters: Parameters) -> Object:
    settings = cluster.settings
    return {
        "clusterInfo": {
            "name": settings.name,
            "uniqueID": settings.unique_id,
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, settings.unique_id)),
            "mvip": "127.0.0.1",
            "mvipNodeID": 1,
            "svip": settings.svip,
            "svipNodeID": 1,
            "repCount": 2,
            "ensemble": ["127.0.0.1"],
            "encryptionAtRestState": "disabled",
            "attributes": {},
        }
    }


@method
def get_cluster_version_info(cluster: Cluster, parameters: Parameters) -> Object:
    version = f"{cluster.settings.api_version}.0.1"
    return {
        "clusterVersion": version,
        "clusterAPIVersion": str(cluster.settings.api_version),
        "clusterVersionInfo": [{"nodeID": 1, "nodeVersion": version, "nodeInternalRevision": "1"}],
        "softwareVersionInfo": {"currentVersion": version, "pendingVersion": version, "nodeID": 0},
    }


@method
def get_cluster_capacity(cluster: Cluster, parameters: Parameters) -> Object:
    return {
        "clusterCapacity": {
            "maxProvisionedSpace": cluster.settings.capacity,
            "maxOverProvisionableSpace": cluster.settings.capacity * 5,
            "provisionedSpace": cluster.provisioned(),
            "maxUsedSpace": cluster.settings.capacity // 2,
            "usedSpace": 0,
            "activeSessions": len(cluster.sessions),
            "timestamp": cluster.now(),
        }
    }


@method
def get_limits(cluster: Cluster, parameters: Parameters) -> Object:
    return dict(cluster.settings.limits)


@method
def get_api(cluster: Cluster, parameters: Parameters) -> Object:
    current = str(cluster.settings.api_version)
    return {"currentVersion": current, "supportedVersions": versions(cluster), current: sorted(METHODS)}
