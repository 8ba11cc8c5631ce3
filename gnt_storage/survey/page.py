# SPDX-License-Identifier: Apache-2.0
"""The diagnosis as one page for a browser: nodes by providers, and what is wrong below.

The page needs nothing from elsewhere and no script; what comes from nodes is escaped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from gnt_storage.survey.findings import ERROR, NODE, WARNING

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --ok: #1a7f37; --warning: #9a6700; --error: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ok: #3fb950; --warning: #d29922; --error: #f85149; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.when { color: GrayText; margin-top: 0; }
.tiles { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.2rem 0; }
.tiles div { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; }
.tiles b { display: block; font-size: 1.5rem; }
table { border-collapse: collapse; }
th, td { border: 1px solid var(--line); padding: .3rem .7rem; text-align: left; }
thead th { position: sticky; top: 0; background: Canvas; }
tbody th { font-weight: normal; } td { text-align: center; } td a { color: inherit; }
.ok { color: var(--ok); } .warning { color: var(--warning); font-weight: bold; }
.error { color: var(--error); font-weight: bold; } .none { color: GrayText; }
#wrong:checked ~ table tr.fine { display: none; }
dt { font-weight: bold; margin-top: .9rem; } dd { margin-left: 1.2rem; }
"""
_WORDS = {ERROR: "✗", WARNING: "!", "ok": "✓", "none": "-"}
_NAMES = {ERROR: "errors", WARNING: "warnings", "ok": "well", "none": "not there"}


def page(document: Mapping[str, Any], cluster: str, when: str) -> str:
    """The page of a document of ``gnt-storage diagnose --json``."""
    return "".join(f"{line}\n" for line in _lines(document, cluster, when))


def _lines(document: Mapping[str, Any], cluster: str, when: str) -> Iterator[str]:
    findings = document["findings"]
    counts = {severity: sum(one["severity"] == severity for one in findings) for severity in (ERROR, WARNING)}
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Storage providers of {escape(cluster)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>Storage providers of {escape(cluster)}</h1>"
    yield f'<p class="when">as gnt-storage diagnose saw them, {escape(when)}</p>'
    yield '<div class="tiles">'
    yield _tile(len(document["nodes"]), "nodes", "none")
    silent = sum(node["state"] == "no answer" for node in document["nodes"])
    yield _tile(silent, "without an answer", ERROR if silent else "ok")
    yield _tile(counts[ERROR], _NAMES[ERROR], ERROR if counts[ERROR] else "ok")
    yield _tile(counts[WARNING], _NAMES[WARNING], WARNING if counts[WARNING] else "ok")
    yield "</div>"
    yield from _matrix(document)
    yield from _details(document["nodes"], findings)
    yield "</body></html>"


def _tile(count: int, name: str, kind: str) -> str:
    return f'<div><b class="{kind}">{count}</b>{name}</div>'


def _matrix(document: Mapping[str, Any]) -> Iterator[str]:
    severities: dict[tuple[str, str], list[str]] = defaultdict(list)
    for finding in document["findings"]:
        severities[finding["node"], finding["provider"]].append(finding["severity"])
    paths = {
        (entry["node"], provider["name"]): entry["path"]
        for provider in document["providers"]
        for entry in provider["nodes"]
    }
    names = [provider["name"] for provider in document["providers"]]
    wrong = {node for node, _ in severities}
    yield '<input type="checkbox" id="wrong"> <label for="wrong">only nodes with something wrong</label>'
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ["node", "group", "itself", *names])
    yield f"<table><thead><tr>{heads}</tr></thead><tbody>"
    for node in document["nodes"]:
        name = node["node"]
        answered = node["state"] == "answered"
        cells = [_cell(name, severities[name, NODE], answered or bool(severities[name, NODE]))]
        cells += [_cell(name, severities[name, one], bool(paths.get((name, one)))) for one in names]
        state = "" if answered else f' <span class="none">({node["state"]})</span>'
        row = f'<th scope="row">{escape(name)}{state}</th><th>{escape(node["group"])}</th>{"".join(cells)}'
        yield f'<tr class="{"wrong" if name in wrong else "fine"}">{row}</tr>'
    yield "</tbody></table>"


def _cell(node: str, severities: Sequence[str], there: bool) -> str:
    kind = min(severities) if severities else "ok" if there else "none"  # "error" sorts before "warning"
    text = f"{_WORDS[kind]} {len(severities) if severities else ''}".strip()
    label = f"{len(severities)} {_NAMES[kind]}" if severities else _NAMES[kind]
    content = f'<a href="#{escape(node)}">{text}</a>' if severities else text
    return f'<td class="{kind}" title="{label}">{content}</td>'


def _details(nodes: Sequence[Mapping[str, Any]], findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    of_node = defaultdict(list)
    for finding in findings:
        of_node[finding["node"]].append(finding)
    if not findings:
        yield '<p class="ok">Nothing is wrong.</p>'
        return
    yield "<h2>What is wrong</h2><dl>"
    for node in nodes:
        if own := of_node[node["node"]]:
            yield f'<dt id="{escape(node["node"])}">{escape(node["node"])}</dt>'
        for finding in own:
            provider = "" if finding["provider"] == NODE else f"{escape(finding['provider'])}: "
            mark = f'<span class="{finding["severity"]}">{finding["severity"]}</span>'
            yield f"<dd>{mark} {provider}{escape(finding['problem'])}</dd>"
    yield "</dl>"
