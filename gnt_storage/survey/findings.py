# SPDX-License-Identifier: Apache-2.0
"""What is wrong on the nodes: each by itself, and compared with the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnt_storage.survey.taking import Told

ERROR = "error"
WARNING = "warning"
CLOCK_SECONDS = 5.0
"""More than this and logs can't be compared any more; Ganeti itself refuses to work beyond 150."""
LOG_DAYS = 60
"""Twice the age at which the package has Ganeti's files of a call deleted."""
SECRET_MODE = "0600"
NAMED = 4
"""How many nodes with the same trouble are named; the others are counted."""
NODE = "-"
"""In the place of a provider's name: the node itself."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong on one node: with which provider (``-``: the node itself), and what."""

    severity: str
    node: str
    provider: str
    problem: str


def find(all_told: Sequence[Told]) -> list[Finding]:
    """Everything that is wrong, node by node."""
    told = {one.node.name: one for one in all_told if one.document is not None}
    findings = [Finding(ERROR, one.node.name, NODE, one.problem) for one in all_told if one.problem]
    for name, one in told.items():
        findings += [Finding(severity, name, provider, text) for severity, provider, text in _alone(one)]
    documents = {name: one.document for name, one in told.items() if one.document is not None}
    groups = {name: one.node.group for name, one in told.items()}
    findings += _compared_suites(documents)
    findings += _same_initiator(documents)
    for group in dict.fromkeys(groups.values()):
        findings += _compared_machines({name: documents[name] for name in groups if groups[name] == group})
    findings += _compared_providers(documents, groups)
    order = {one.node.name: number for number, one in enumerate(all_told)}
    return sorted(findings, key=lambda finding: (finding.severity, order[finding.node], finding.provider))


# --- a node by itself -------------------------------------------------------------------------------

Problem = tuple[str, str, str]


def _alone(told: Told) -> Iterator[Problem]:
    document = told.document or {}
    yield from _logs(document["logs"])
    yield from _clock(told)
    yield from _configuration(document)
    yield from _activated(document)
    if not document["providers"]:
        yield ERROR, NODE, "no provider is installed"
    used: dict[str, str] = {}
    for entry in document["providers"]:
        name, path = entry["name"], entry["path"]
        if name in used:
            yield ERROR, name, f"{path} is never used, since {used[name]} comes first"
            continue
        used[name] = path
        for severity, text in _of_provider(entry):
            yield severity, name, text


def _logs(logs: Mapping[str, Any]) -> Iterator[Problem]:
    """Ganeti's directory of logs, which it neither makes nor clears."""
    if not logs["there"]:
        yield (
            ERROR,
            NODE,
            "/var/log/ganeti/extstorage is not there, so Ganeti can run no script but attach; "
            "make it: mkdir -p -m 750 /var/log/ganeti/extstorage",
        )
    elif (days := logs["oldest"]) > LOG_DAYS:
        oldest = f"the oldest is {days} days old: is systemd-tmpfiles-clean.timer, or cron, running?"
        yield ERROR, NODE, f"nothing deletes Ganeti's old files in /var/log/ganeti/extstorage; {oldest}"


def _clock(told: Told) -> Iterator[Problem]:
    if told.earlier > CLOCK_SECONDS or told.later < -CLOCK_SECONDS:
        off = told.earlier if told.earlier > 0 else told.later
        way = "ahead of" if off > 0 else "behind"
        yield ERROR, NODE, f"its clock is {abs(off):.0f} s {way} this node's; let NTP set it"


def _configuration(document: Mapping[str, Any]) -> Iterator[Problem]:
    for file, (mode, owner) in document["configuration"].items():
        if owner or int(mode, 8) & 0o022:
            yield ERROR, NODE, f"{file} can be changed by others than root (owner {owner}, mode {mode})"


def _activated(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What is inside guests' disks must not be in use on the node."""
    for volume, provider, user in document["activated"]:
        text = f"this node itself uses what a guest has on {volume}, as {user}"
        advice = (
            "deactivate it (vgchange -an, mdadm --stop) and have lvm.conf's global_filter refuse such disks"
        )
        yield ERROR, provider, f"{text}; {advice}"


def _of_provider(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not entry["valid"]:
        yield ERROR, entry["message"]
    for problem in entry["blank"]:
        yield ERROR, f"{entry['path']}/parameters.list: {problem}"
    for path in entry["writable"]:
        yield ERROR, f"{path} can be changed by others than root, who runs it"
    if entry["valid"]:
        for script in entry["missing"]:
            yield ERROR, f"it has no {script}: {_MISSED[script]}"
    if entry["verify"]:
        yield ERROR, entry["verify"]
    report = entry["report"] or {}
    if report.get("problem"):
        yield ERROR, report["problem"]
    failed: dict[str, str] = {}
    for check, _, problem in report.get("checks", ()):
        if problem and check != "logs":
            # What several checks say, as when a storage does not answer, is said once.
            failed.setdefault(problem, check)
    for problem, check in failed.items():
        yield ERROR, f"{check}: {problem}"
    for pool in report.get("pools", {}).values():
        for file, mode, owner, _ in pool["secrets"].values():
            is_told = any(file in problem for problem in failed)
            if not is_told and (owner > 0 or mode not in ("", SECRET_MODE)):
                yield (
                    ERROR,
                    f"{file} holds a secret and must be root's, with mode 0600 (owner {owner}, mode {mode})",
                )


_MISSED = {
    "snapshot": "gnt-backup export of a running instance fails",
    "open": "nothing keeps two nodes from using a volume at once",
    "close": "nothing keeps two nodes from using a volume at once",
}


# --- nodes compared ---------------------------------------------------------------------------------

Documents = Mapping[str, Mapping[str, Any]]


def differing(values: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, int]]:
    """The nodes whose value is not that of most: the node, its value, the others' and how many they are.

    Where there are as many of one as of the other, the first node's counts.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for node, value in values.items():
        groups[repr(value)].append(node)
    if len(groups) < 2:
        return
    most = max(groups.values(), key=len)
    for nodes in groups.values():
        if nodes is not most:
            for node in nodes:
                yield node, values[node], values[most[0]], len(most)


def _others(count: int) -> str:
    return "another node has" if count == 1 else f"{count} other nodes have"


def _on_others(count: int) -> str:
    return "on another node" if count == 1 else f"on {count} other nodes"


def _compared_suites(documents: Documents) -> Iterator[Finding]:
    versions = {name: version for name, one in documents.items() if (version := _versions(one))}
    for node, own, usual, count in differing(versions):
        yield Finding(ERROR, node, NODE, f"it has ganeti-extstorage {own}, {_others(count)} {usual}")
    same_version: dict[str, dict[str, str]] = defaultdict(dict)
    for name, one in documents.items():
        for version, digest in one["libraries"].values():
            same_version[version][name] = digest
    for version, digests in same_version.items():
        for node, _, _, count in differing(digests):
            problem = f"its library is not the one that {_others(count)}, though both say {version}"
            yield Finding(ERROR, node, NODE, f"{problem}; install it again")


def _versions(document: Mapping[str, Any]) -> str:
    return ", ".join(sorted({version for version, _ in document["libraries"].values()}))


def _compared_machines(documents: Documents) -> Iterator[Finding]:
    """Of one group: groups may well be other machines, for other storage."""
    python = {name: ".".join(one["python"].split(".")[:2]) for name, one in documents.items()}
    for node, own, usual, count in differing(python):
        yield Finding(WARNING, node, NODE, f"it has Python {own}, {_others(count)} {usual}")
    for node, own, usual, count in differing({name: one["kernel"] for name, one in documents.items()}):
        yield Finding(WARNING, node, NODE, f"it runs Linux {own}, {_on_others(count)} it is {usual}")
    for daemon in sorted({daemon for one in documents.values() for daemon in one["daemons"]}):
        runs = {name: daemon in one["daemons"] for name, one in documents.items()}
        for node, own, usual, count in differing(runs):
            there = "it does" if usual else "not"
            text = f"{daemon} {'runs' if own else 'does not run'}, {_on_others(count)} {there}"
            yield Finding(WARNING, node, NODE, text)
    yield from _compared_packages(documents)


def _compared_packages(documents: Documents) -> Iterator[Finding]:
    for package in sorted({package for one in documents.values() for package in one["packages"]}):
        versions = {name: one["packages"].get(package, "") for name, one in documents.items()}
        for node, own, usual, count in differing(versions):
            if own and usual:
                problem = f"it has {package} {own}, {_others(count)} {usual}"
            elif own:
                problem = f"it has {package} {own}, which {_others(count)} not"
            else:
                problem = f"it lacks the package {package}, which {_others(count)}"
            yield Finding(WARNING, node, NODE, problem)


def _same_initiator(documents: Documents) -> Iterator[Finding]:
    owners: dict[str, list[str]] = defaultdict(list)
    for name, one in documents.items():
        if one["initiator"]:
            owners[one["initiator"].lower()].append(name)
    for initiator, names in owners.items():
        problem = f"its iSCSI initiator name {initiator} is that of {len(names)} nodes"
        advice = "it must be its own: let iscsi-iname make a new one for /etc/iscsi/initiatorname.iscsi"
        for name in names if len(names) > 1 else ():
            yield Finding(ERROR, name, NODE, f"{problem}; {advice}")


# --- providers compared -----------------------------------------------------------------------------


def _compared_providers(documents: Documents, groups: Mapping[str, str]) -> Iterator[Finding]:
    entries: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for node, document in documents.items():
        for entry in document["providers"]:
            entries[entry["name"]].setdefault(node, entry)
    for provider, on_nodes in entries.items():

        def finding(node: str, problem: str, severity: str = ERROR, provider: str = provider) -> Finding:
            return Finding(severity, node, provider, problem)

        yield from _absent(on_nodes, groups, finding)
        yield from _compared_files(on_nodes, finding)
        yield from _compared_pools(on_nodes, groups, finding)


Make = Callable[..., Finding]
Entries = Mapping[str, Mapping[str, Any]]


def _absent(on_nodes: Entries, groups: Mapping[str, str], finding: Make) -> Iterator[Finding]:
    """A provider must be on all nodes of a group or on none."""
    there = {groups[node] for node in on_nodes}
    for node, group in groups.items():
        if group in there and node not in on_nodes:
            count = sum(groups[other] == group for other in on_nodes)
            yield finding(node, f"it is missing, while {_others(count)} it; install it: gnt-storage install")


def _compared_files(on_nodes: Entries, finding: Make) -> Iterator[Finding]:
    for node, own, usual, count in differing({node: entry["path"] for node, entry in on_nodes.items()}):
        yield finding(node, f"Ganeti uses {own}, {_on_others(count)} {usual}", WARNING)
    for node, own, usual, count in differing({node: entry["digests"] for node, entry in on_nodes.items()}):
        files = [file for file in sorted({*own, *usual}) if own.get(file) != usual.get(file)]
        verb = "differs from that" if len(files) == 1 else "differ from those"
        yield finding(node, f"its {', '.join(files)} {verb} {_on_others(count)}")


def _compared_pools(on_nodes: Entries, groups: Mapping[str, str], finding: Make) -> Iterator[Finding]:
    reports = {node: entry["report"] for node, entry in on_nodes.items() if entry.get("report")}
    reports = {node: report for node, report in reports.items() if not report["problem"]}
    for node, own, _, count in differing({node: report["configured"] for node, report in reports.items()}):
        there = "has a configuration, which" if own else "has no configuration, which"
        yield finding(node, f"it {there} {_others(count)}{' not' if own else ''}")
    without = [report for report in reports.values() if report["pools"] and not report["configured"]]
    if len(reports) > 1 and len(without) == len(reports):
        for node in reports:
            yield finding(node, "it has no configuration, so each node keeps volumes of its own", WARNING)
    reports = {node: report for node, report in reports.items() if report["configured"]}
    for node, report in reports.items():
        for same in _same_pools(report["pools"]):
            problem = f"its pools {', '.join(same)} have one UUID"
            yield finding(node, f"{problem}; if they are one storage, keep only one in its configuration")
    for pool in sorted({pool for report in reports.values() for pool in report["pools"]}):
        told = {node: report["pools"][pool] for node, report in reports.items() if pool in report["pools"]}
        uuids = {node: one["uuid"] for node, one in told.items() if one["uuid"]}
        for node, own, usual, count in differing(uuids):
            problem = f"pool '{pool}' is another one here: UUID {own}, {_on_others(count)} {usual}"
            yield finding(node, f"{problem}; is the right filesystem mounted?")
        for group in sorted(set(groups.values())):
            members = [node for node in reports if groups[node] == group]
            yield from _compared_options(pool, {node: told.get(node) for node in members}, finding)


def _same_pools(pools: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    """The pools that are one storage by what it tells: their volumes would be found in each of them."""
    for uuid in dict.fromkeys(told["uuid"] for told in pools.values() if told["uuid"]):
        same = [pool for pool, told in pools.items() if told["uuid"] == uuid]
        if len(same) > 1:
            yield same


def _compared_options(pool: str, told: Mapping[str, Any], finding: Make) -> Iterator[Finding]:
    if not any(told.values()):
        return
    there = {node: one for node, one in told.items() if one is not None}
    for node, own, _, count in differing({node: node in there for node in told}):
        has, have_not = ("a", " not") if own else ("no", "")
        yield finding(node, f"its configuration has {has} pool '{pool}', which {_others(count)}{have_not}")
    for option in sorted({option for one in there.values() for option in one["options"]}):
        values = {node: one["options"].get(option) for node, one in there.items()}
        for node, own, usual, count in differing(values):
            problem = f"pool '{pool}': {option} is {_shown(own)}, {_on_others(count)} {_shown(usual)}"
            yield finding(node, problem)
    for option in sorted({option for one in there.values() for option in one["secrets"]}):
        digests = {node: one["secrets"][option][3] for node, one in there.items() if option in one["secrets"]}
        for node, _, _, count in differing(digests):
            yield finding(
                node, f"pool '{pool}': the file of {option} holds another secret than {_on_others(count)}"
            )


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
