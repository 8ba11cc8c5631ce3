# SPDX-License-Identifier: Apache-2.0
"""The administrator's command, run as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import CHECKOUT, PROVIDER, Result, Site

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = "usr/local/lib/ganeti/extstorage"


def gnt_storage(site: Site, *arguments: str, **variables: str) -> Result:
    """Run ``gnt-storage`` with the site's configuration."""
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "EXTSTORAGE_CONFIG_DIR": str(site.config),
        "EXTSTORAGE_RUN_DIR": str(site.directory / "run"),
        "EXTSTORAGE_LOG_DIR": str(site.directory / "log"),
        "EXTSTORAGE_NODE": "n1",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "gnt_storage", *arguments],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def installed(site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that takes the place of Ganeti's search path, with ``file`` in its third part."""
    root = site.directory / "root"
    for directory in ("srv", "local", "lib", "share"):
        (root / directory).mkdir(parents=True)
    (root / "lib/file").symlink_to(PROVIDER)
    os.makedirs("/var/log/ganeti/extstorage", exist_ok=True)
    return root


def on_path(site: Site, *arguments: str) -> Result:
    """Run ``gnt-storage`` with the search path of :func:`installed`."""
    return gnt_storage(site, *arguments, EXTSTORAGE_SEARCH_PATH=search_path(site))


def search_path(site: Site) -> str:
    """What takes the place of Ganeti's."""
    return ":".join(str(site.directory / "root" / name) for name in ("srv", "local", "lib", "share"))


VOLUME = ("list", "show", "create", "remove", "grow", "attach", "detach", "snapshot", "release")


def test_help_of_every_command_has_an_example(site: Site) -> None:
    top = gnt_storage(site, "--help")
    assert top.status == 0
    for command in (
        ["conformance"],
        ["diagnose"],
        ["info"],
        ["install"],
        ["node", "forget"],
        ["orphans"],
        ["pool", "init"],
        ["pool", "list"],
        ["uninstall"],
        *(["volume", name] for name in VOLUME),
    ):
        assert command[0] in top.stdout
        shown = gnt_storage(site, *command, "--help")
        assert shown.status == 0
        assert "Example" in shown.stdout
        assert "--json" in shown.stdout


def test_version(site: Site) -> None:
    assert gnt_storage(site, "--version").stdout.startswith("gnt-storage, version ")


def test_errors_are_one_sentence_and_a_status(site: Site) -> None:
    result = gnt_storage(site, "pool", "init", "nosuch")
    assert result.status == 4
    assert result.stderr.startswith("gnt-storage: there is no provider 'nosuch'")
    assert "did you mean 'lvm'?\n" in gnt_storage(site, "pool", "init", "lvn").stderr
    assert result.stderr.count("\n") == 1
    result = gnt_storage(site, "pool", "init", str(PROVIDER), "gold")
    assert (result.status, "there is no pool 'gold'" in result.stderr) == (4, True)
    assert gnt_storage(site, "nosuch").status == 2
    assert gnt_storage(site, "conformance", str(PROVIDER), "--param", "x").status == 2
    assert gnt_storage(site, "conformance", str(PROVIDER), "--case", "nosuch").status == 2


def test_pool_init(site: Site) -> None:
    document = json.loads(gnt_storage(site, "pool", "init", str(PROVIDER), "--json").stdout)
    assert document["version"] == 1
    assert document["pool"] == "default"
    assert document["uuid"] in (site.pool / ".ganeti-extstorage-pool").read_text()


def test_info(site: Site, installed: Path) -> None:
    result = on_path(site, "info", "file")
    assert result.status == 0
    assert result.stdout.startswith(
        "file:\n  - Valid for nodegroups:\n      default\n  - Supported parameters:\n      pool: "
    )
    assert "  - Pools: default" in result.stdout
    document = json.loads(on_path(site, "info", "--json").stdout)
    assert [provider["backend"] for provider in document["providers"]] == ["file"]
    assert "directory" in {option["name"] for option in document["providers"][0]["options"]}
    missing = on_path(site, "info", "file", "nosuch")
    assert (missing.status, missing.stderr) == (4, "gnt-storage: there is no provider nosuch\n")


def test_diagnose_of_a_healthy_node(site: Site, installed: Path) -> None:
    result = on_path(site, "diagnose")
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout == (
        "Provider: file\n"
        "---\n"
        f"  Node: n1, status: valid (path: {installed}/lib/file) [parameters: pool, allocation]\n"
        "  --\n"
        "  For nodegroup: default --> valid\n"
        "\n"
    )
    assert json.loads(on_path(site, "diagnose", "--json").stdout)["findings"] == []


def foreign(directory: Path, parameters: str = "") -> None:
    """A provider that is nobody's, with every script."""
    directory.mkdir()
    for script in (
        "create",
        "attach",
        "detach",
        "remove",
        "grow",
        "setinfo",
        "verify",
        "snapshot",
        "open",
        "close",
    ):
        (directory / script).write_text("#!/bin/sh\n")
        (directory / script).chmod(0o755)
    (directory / "parameters.list").write_text(parameters)


def findings(site: Site) -> list[tuple[str, str]]:
    result = on_path(site, "diagnose", "--json")
    assert result.status == 1
    return [(one["provider"], one["problem"]) for one in json.loads(result.stdout)["findings"]]


def test_diagnose_names_what_is_shadowed(site: Site, installed: Path) -> None:
    foreign(installed / "srv/file")
    assert findings(site) == [
        ("file", f"{installed}/lib/file is never used, since {installed}/srv/file comes first")
    ]


def test_diagnose_names_bad_parameters_list(site: Site, installed: Path) -> None:
    foreign(installed / "share/other", "a what it is\n\nb\n")
    problems = [problem for _, problem in findings(site)]
    assert len(problems) == 2
    assert "line 2 is blank" in problems[0]
    assert "line 3 names 'b' without a description" in problems[1]


def test_diagnose_names_missing_scripts(site: Site, installed: Path) -> None:
    foreign(installed / "share/other")
    (installed / "share/other/snapshot").unlink()
    (installed / "share/other/verify").unlink()
    (provider, problem), *others = findings(site)
    assert (provider, others) == ("other", [])
    assert "File 'verify'" in problem
    (installed / "share/other/verify").write_text("")
    assert "is not executable" in findings(site)[0][1]


def test_diagnose_names_an_unreachable_pool(site: Site, installed: Path) -> None:
    site.pool.rename(site.directory / "away")
    assert "marker file" in findings(site)[0][1]
    # Ganeti itself sees nothing of that.
    assert on_path(site, "diagnose", "--ganeti").status == 0


def test_diagnose_without_any_provider(site: Site, installed: Path) -> None:
    (installed / "lib/file").unlink()
    assert "no provider is installed" in findings(site)[0][1]
    as_ganeti = on_path(site, "diagnose", "--ganeti")
    assert (as_ganeti.status, as_ganeti.stdout) == (1, "")
    assert as_ganeti.stderr == "Can't get the list of ExtStorage providers\n"


def test_conformance_lists_its_cases(site: Site) -> None:
    document = json.loads(gnt_storage(site, "conformance", str(PROVIDER), "--list", "--json").stdout)
    names = [case["case"] for case in document["cases"]]
    assert len(names) == len(set(names)) > 80
    assert all(case["rule"] and case["source"] for case in document["cases"])


def test_table_on_a_pipe_is_not_folded(site: Site) -> None:
    lines = gnt_storage(site, "conformance", str(PROVIDER), "--list").stdout.splitlines()
    assert len(lines) > 80
    assert max(map(len, lines)) > 120


def test_the_only_node_group_is_named(site: Site, installed: Path) -> None:
    ssconf = site.directory / "ganeti"
    ssconf.mkdir()
    (ssconf / "ssconf_nodegroups").write_text("9b1c9d4c-2a4e-4b0e-8d0a-5a0f7c1f2e11 rack1\n")
    variables = {"EXTSTORAGE_SSCONF_DIR": str(ssconf), "EXTSTORAGE_SEARCH_PATH": search_path(site)}
    assert "  For nodegroup: rack1 --> valid\n" in gnt_storage(site, "diagnose", **variables).stdout
    assert "  - Valid for nodegroups:\n      rack1\n" in gnt_storage(site, "info", **variables).stdout


def test_info_of_an_invalid_provider_says_why(site: Site, installed: Path) -> None:
    foreign(installed / "share/other")
    (installed / "share/other/verify").unlink()
    shown = on_path(site, "info", "other").stdout
    assert "other:\n  - Invalid for all nodegroups\n  - Reason: File 'verify'" in shown
