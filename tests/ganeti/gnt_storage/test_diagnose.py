# SPDX-License-Identifier: Apache-2.0
"""``gnt-storage diagnose`` in the cluster: silent when all is well, else it names what is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ganeti.cluster import Cluster

PROVIDER = "/usr/share/ganeti/extstorage/file"
LIBRARY = "/usr/share/ganeti-extstorage/extstorage_common"
CONFIGURATION = "/etc/ganeti/extstorage/file.conf"
POOL = "/srv/shared/diagnosed"
LOGS = "/var/log/ganeti/extstorage"


@pytest.fixture(scope="module")
def healthy(cluster: Cluster, package: Path) -> Iterator[Cluster]:
    """The package on all nodes, with one pool."""

    def install(node: Any) -> None:
        node.install(package)
        node.put(CONFIGURATION, f"[gold]\ndirectory = {POOL}\n")
        set_initiator(node, node.name)

    cluster.on_all(install)
    cluster.master.run("gnt-storage pool init file gold")
    yield cluster
    left = f"/usr/local/lib/ganeti /etc/ganeti/extstorage /etc/iscsi /run/ganeti-extstorage {POOL}"
    cluster.on_all(lambda node: node.run(f"dpkg --purge ganeti-extstorage; rm -rf {left}"))


def set_initiator(node: Any, name: str) -> None:
    """Give a node an iSCSI name, whether or not the machine below has one."""
    node.put("/etc/iscsi/initiatorname.iscsi", f"InitiatorName=iqn.2026-11.test:{name}\n")


def findings(cluster: Cluster, options: str = "") -> dict[tuple[str, str], list[str]]:
    """What is wrong, by node and provider; errors and warnings."""
    done = cluster.gnt(f"gnt-storage diagnose --json {options}", check=False)
    document = json.loads(done.stdout)
    assert done.returncode == any(one["severity"] == "error" for one in document["findings"])
    found: dict[tuple[str, str], list[str]] = {}
    for one in document["findings"]:
        found.setdefault((one["node"], one["provider"]), []).append(one["problem"])
    return found


def test_nothing_is_reported_on_a_clean_cluster(healthy: Cluster) -> None:
    """gnt-storage diagnose."""
    assert findings(healthy) == {}
    done = healthy.gnt("gnt-storage diagnose")
    assert done.stderr == ""


def test_same_words_as_ganetis_own(healthy: Cluster) -> None:
    """Ganeti's own output and ours side by side: valid, invalid, missing on a node, none at all."""
    node = healthy.nodes[1]
    for change in ("true", f"mv {PROVIDER}/setinfo /", f"mv {PROVIDER} /", "mv /file/attach /"):
        node.run(change)
        own = same_words(healthy)
        full = healthy.gnt("gnt-storage diagnose", check=False)
        assert full.stdout.startswith(own)
    node.run(f"mv /attach /file/; mv /file {PROVIDER}; mv /setinfo {PROVIDER}/")
    healthy.on_all(lambda node: node.run(f"mv {PROVIDER} /"))
    same_words(healthy)
    healthy.on_all(lambda node: node.run(f"mv /file {PROVIDER}"))
    assert findings(healthy) == {}


def test_same_words_as_ganetis_own_with_several_groups(healthy: Cluster) -> None:
    """A provider that is missing on the node of another group, which runs no instances then."""
    node = healthy.nodes[2]
    healthy.gnt("gnt-group add rack10")
    healthy.gnt("gnt-group add rack9")
    healthy.gnt(f"gnt-group assign-nodes rack10 {node.name}")
    node.run(f"mv {PROVIDER} /")
    try:
        assert "For nodegroup: rack10 --> invalid" in same_words(healthy)
        # Another group may well have other providers.
        assert findings(healthy) == {}
        healthy.gnt(f"gnt-node modify --vm-capable no {node.name}")
        assert "For nodegroup: rack10 --> valid" in same_words(healthy)
        assert findings(healthy) == {}
    finally:
        node.run(f"mv /file {PROVIDER}")
        healthy.gnt(f"gnt-node modify --vm-capable yes {node.name}")
        healthy.gnt(f"gnt-group assign-nodes default {node.name}")
        healthy.gnt("gnt-group remove rack10")
        healthy.gnt("gnt-group remove rack9")
    assert findings(healthy) == {}


def same_words(cluster: Cluster) -> str:
    """Ganeti's own output, which ours must be, too."""
    own = cluster.gnt("gnt-storage.ganeti diagnose", check=False)
    ours = cluster.gnt("gnt-storage diagnose --ganeti", check=False)
    assert (ours.stdout, ours.stderr, ours.returncode) == (own.stdout, own.stderr, own.returncode)
    return own.stdout


COPY = f"cd {PROVIDER}; rm grow; cp {LIBRARY}/door grow"
RELINK = f"ln -sfn ../../../ganeti-extstorage/extstorage_common/door {PROVIDER}/grow"
FIRST = "/srv/ganeti/extstorage"
OTHER_UUID = "00000000-0000-4000-8000-000000000000"
OLD = 's/__version__ = .*/__version__ = "0.0.1"/'
HOLLOW = "#!/bin/sh\n# from extstorage_common import script"
LISTEN = (
    "import os, socket, time; one = socket.socket(socket.AF_UNIX);"
    r'one.bind("\0ISCSIADM_ABSTRACT_NAMESPACE"); one.listen();'
    "print(os.getpid(), flush=True); time.sleep(600)"
)
"""Python that does nothing but listen where iscsid would."""

INCONSISTENCIES = {
    "script edited": (
        f"{COPY}; echo '# edited' >>grow", RELINK, "file", "its grow differs from that on 2 other nodes",
    ),
    "library edited": (
        f"cp {LIBRARY}/locks.py /; echo '# edited' >>{LIBRARY}/locks.py", f"mv /locks.py {LIBRARY}",
        "-", "its library is not the one that 2 other nodes have, though both say",
    ),
    "module missing": (
        f"mv {LIBRARY}/workflow.py /", f"mv /workflow.py {LIBRARY}",
        "-", "its library is not the one that 2 other nodes have",
    ),
    "module missing that verify needs": (
        f"mv {LIBRARY}/verify.py /", f"mv /verify.py {LIBRARY}", "file", "cannot import name 'verify'",
    ),
    "other version": (
        f"cp {LIBRARY}/__init__.py /; sed -i '{OLD}' {LIBRARY}/__init__.py",
        f"mv /__init__.py {LIBRARY}", "-", "it has ganeti-extstorage 0.0.1, 2 other nodes have",
    ),
    "other configuration": (
        f"echo 'allocation = full' >>{CONFIGURATION}", f"sed -i '/allocation/d' {CONFIGURATION}",
        "file", "pool 'gold': allocation is full, on 2 other nodes sparse",
    ),
    "pool missing in the configuration": (
        f"sed -i 's/gold/silver/' {CONFIGURATION}", f"sed -i 's/silver/gold/' {CONFIGURATION}",
        "file", "its configuration has no pool 'gold', which 2 other nodes have",
    ),
    "unknown option": (
        f"echo 'alocation = full' >>{CONFIGURATION}", f"sed -i '/alocation/d' {CONFIGURATION}",
        "file", "did you mean 'allocation'?",
    ),
    "configuration missing": (
        f"mv {CONFIGURATION} /", f"mv /file.conf {CONFIGURATION}",
        "file", "it has no configuration, which 2 other nodes have",
    ),
    "wrong mode of a script": (
        f"{COPY}; chmod 644 grow", RELINK, "file", f"File 'grow' under path '{PROVIDER}' is not executable",
    ),
    "script that anybody may change": (
        f"chmod 666 {PROVIDER}/parameters.list", f"chmod 644 {PROVIDER}/parameters.list",
        "file", "can be changed by others than root",
    ),
    "configuration that anybody may change": (
        f"chmod 666 {CONFIGURATION}", f"chmod 644 {CONFIGURATION}", "-", "can be changed by others than root",
    ),
    "log directory missing": (
        f"mv {LOGS} /", f"mv /extstorage {LOGS}", "-", "so Ganeti can run no script but attach",
    ),
    "storage not mounted": (
        f"mkdir /empty; mount --bind /empty {POOL}", f"umount {POOL}; rmdir /empty", "file", "marker file",
    ),
    "another filesystem mounted": (
        f"mkdir /other; cp -a {POOL}/. /other; sed -i 's/uuid .*/uuid {OTHER_UUID}/'"
        f" /other/.ganeti-extstorage*; mount --bind /other {POOL}",
        f"umount {POOL}; rm -r /other", "file", "pool 'gold' is another one here: UUID 00000000",
    ),
    "shadowed": (
        f"mkdir -p {FIRST}; cp -a {PROVIDER} {FIRST}", f"rm -r {FIRST}",
        "file", f"{PROVIDER} is never used, since {FIRST}/file comes first",
    ),
    "blank line in parameters.list": (
        f"cd {PROVIDER}; cp parameters.list /; echo >>parameters.list", f"mv /parameters.list {PROVIDER}",
        "file", "is blank, which crashes gnt-storage diagnose and info",
    ),
    "verify that says nothing": (
        f"cd {PROVIDER}; rm verify; echo '{HOLLOW}' >verify; chmod 755 verify",
        f"ln -sfn ../../../ganeti-extstorage/extstorage_common/door {PROVIDER}/verify",
        "file", "verify said nothing",
    ),
    "iscsid on one node alone": (
        f"setsid -f python3 -c '{LISTEN}' >/listening 2>&1 </dev/null;"
        " until [ -s /listening ]; do sleep 0.1; done",
        "kill $(cat /listening); rm /listening", "-", "iscsid runs, on 2 other nodes not",
    ),
    "provider missing": (
        f"mv {PROVIDER} /", f"mv /file {PROVIDER}", "file", "it is missing, while 2 other nodes have it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INCONSISTENCIES)
def test_each_inconsistency_is_found_and_named(healthy: Cluster, name: str) -> None:
    """gnt-storage diagnose with one node that differs."""
    make, mend, provider, problem = INCONSISTENCIES[name]
    node = healthy.nodes[1]
    node.run(make)
    try:
        found = findings(healthy)
    finally:
        node.run(mend)
    assert any(problem in one for one in found[node.name, provider]), found
    # Nobody else is blamed.
    assert {name for name, _ in found} == {node.name}
    assert findings(healthy) == {}


def test_a_verify_that_hangs_is_found(healthy: Cluster) -> None:
    """gnt-storage diagnose of a provider whose verify sleeps; the other one is judged all the same."""
    other = f"{PROVIDER}/../nfs1"
    healthy.on_all(lambda node: node.run(f"cp -a {PROVIDER} {other}"))
    node = healthy.nodes[1]
    node.run(f"rm {other}/verify")
    node.put(f"{other}/verify", f"{HOLLOW}\nexec sleep 1000\n", 0o755)
    found = findings(healthy, "--timeout 20")
    healthy.on_all(lambda node: node.run(f"rm -r {other}"))
    assert "verify did not end within 20 s" in found[node.name, "nfs1"]
    assert {provider for _, provider in found} == {"nfs1"}
    assert findings(healthy) == {}


def test_initiator_name_twice(healthy: Cluster) -> None:
    for node, name in zip(healthy.nodes, ("a", "b", "A"), strict=True):
        set_initiator(node, name)
    found = findings(healthy)
    healthy.on_all(lambda node: set_initiator(node, node.name))
    assert {node for node, _ in found} == {healthy.nodes[0].name, healthy.nodes[2].name}
    assert "iqn.2026-11.test:a is that of 2 nodes" in found[healthy.nodes[0].name, "-"][0]
    assert findings(healthy) == {}


def test_nodes_that_do_not_answer(healthy: Cluster) -> None:
    """gnt-storage diagnose with a node whose sshd is off, then without power, then offline."""
    node = healthy.nodes[2]
    node.crash()
    try:
        found = findings(healthy)
        assert found == {(node.name, "-"): ["it does not answer"]}
        healthy.set_offline(node)
        done = healthy.gnt("gnt-storage diagnose")
        assert f"note: {node.name} is marked offline and was not asked" in done.stdout
    finally:
        node.restart()
        healthy.set_online(node)
    assert findings(healthy) == {}


def test_chosen_nodes(healthy: Cluster) -> None:
    document = json.loads(healthy.gnt("gnt-storage diagnose --json --node node2.example.test").stdout)
    assert [one["node"] for one in document["nodes"]] == ["node2.example.test"]
    document = json.loads(healthy.gnt("gnt-storage diagnose --json --group default").stdout)
    assert len(document["nodes"]) == 3
    done = healthy.gnt("gnt-storage diagnose --node node9.example.test", check=False)
    assert (done.returncode, done.stderr.startswith("gnt-storage: there is no node node9")) == (4, True)


def test_page(healthy: Cluster) -> None:
    healthy.nodes[1].run(f"chmod 666 {CONFIGURATION}")
    healthy.gnt("gnt-storage diagnose --html /tmp/page.html", check=False)
    healthy.nodes[1].run(f"chmod 644 {CONFIGURATION}")
    page = healthy.master.run("cat /tmp/page.html; rm /tmp/page.html").stdout
    assert page.count("<tr class=") == 3
    assert page.count('<tr class="wrong">') == 1
    assert f"{CONFIGURATION} can be changed by others than root" in page


def test_cluster_verify_tells(healthy: Cluster) -> None:
    """gnt-cluster verify, with the hook that is installed: a line for each problem, once."""
    done = healthy.gnt("gnt-cluster verify", check=False)
    assert "ganeti-extstorage" not in done.stdout + done.stderr
    node = healthy.nodes[1]
    uuid = healthy.gnt(f"gnt-node list --no-headers -o uuid {healthy.master.name}").stdout.strip()
    node.run(f"chmod 666 {CONFIGURATION}")
    done = healthy.gnt("gnt-cluster verify", check=False)
    node.run(f"chmod 644 {CONFIGURATION}")
    assert done.returncode == 1
    assert f"ERROR: node {uuid}: Script cluster-verify-post.d/ganeti-extstorage failed" in done.stdout
    line = next(
        line for line in done.stdout.splitlines() if line.endswith("(gnt-storage diagnose shows it all)")
    )
    assert f"{node.name}: {CONFIGURATION} can be changed by others than root" in line
    # The master alone asks, and says it once.
    assert done.stdout.count("Script cluster-verify-post.d") == 1
