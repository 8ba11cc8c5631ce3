# SPDX-License-Identifier: Apache-2.0
"""The stage on which the tests with a provider play, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ganeti.instances import Instance, is_empty

if TYPE_CHECKING:
    from tests.ganeti.providers import Provider


class Stage:
    """The cluster with at most one instance on it, which a test that went well leaves to the next one."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.instance: Instance | None = None

    def running(self, hypervisor: str) -> Instance:
        """An instance that runs, with data on its disk: the one that is there, or else a new one."""
        if self.instance and self.instance.hypervisor == hypervisor:
            return self.instance
        self.empty()
        name = {"fake": "web", "kvm": "vm"}[hypervisor]
        instance = Instance(self.provider, name, self.provider.cluster.nodes[0], hypervisor)
        try:
            instance.add()
            instance.write()
            instance.runs()
        except Exception:
            self.sweep()
            raise
        self.instance = instance
        return instance

    def empty(self) -> None:
        """Remove the instance; nothing of it is left."""
        if self.instance:
            instance, self.instance = self.instance, None
            instance.remove()

    def end(self, broken: bool) -> None:
        """Check that a test left all as it should be. Sweep up if not, or if it has failed by itself."""
        if broken:
            self.sweep()
            return
        try:
            if self.instance:
                self.instance.runs()
            else:
                assert self.provider.cluster.gnt("gnt-instance list --no-headers").stdout == ""
                is_empty(self.provider)
        except Exception:
            self.sweep()
            raise

    def sweep(self) -> None:
        """Make room for the next test, whatever there is."""
        self.instance = None
        for node in self.provider.cluster.nodes:
            if not node.running:
                node.restart()
        self.provider.mend()
        self.provider.cluster.reset()
        self.provider.clear()
