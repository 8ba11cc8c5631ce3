# SPDX-License-Identifier: Apache-2.0
"""What ``apt install ./ganeti-extstorage_*.deb`` brings to a clean machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.package.conftest import EXAMPLE, LIBRARY, PROVIDER

if TYPE_CHECKING:
    from tests.package.conftest import Tree


def test_clean_machine(installed: Tree) -> None:
    """A volume's whole life by the installed scripts, without configuration; the command; the manual."""
    script = f"cd {PROVIDER}; export EXTSTORAGE_RUN_DIR=/tmp/run VOL_NAME=v1 VOL_SIZE=16;"
    try:
        printed = installed.run(
            script
            + "./create; ./attach; ./attach; echo data | dd of=$(./attach) conv=sync status=none;"
            + "./detach; dd if=$(./attach) count=1 status=none | tr -d '\\000'; ./verify; ./detach; ./remove"
        )
    finally:
        installed.call(script + "./detach")
    assert printed.split("\n") == ["/tmp/run/dev/v1", "/tmp/run/dev/v1", "data", ""]
    assert "Pools: default" in installed.run("gnt-storage info file")
    assert "Provider: file\n" in installed.run("gnt-storage diagnose")
    for page in ("8 gnt-storage", "7 ganeti-extstorage-file"):
        assert installed.run(f"man -w {page}").strip()
    installed.run(f"test -s {EXAMPLE}")
    # The guides write into it at once.
    installed.run("test -d /etc/ganeti/extstorage")
    installed.run("test -s /lib/udev/rules.d/59-ganeti-extstorage.rules")


def test_manual(installed: Tree) -> None:
    page = installed.run("MANWIDTH=100 man --warnings=w 8 gnt-storage 2>&1 | col -bx")
    assert "warning:" not in page
    for words in ("gnt-storage pool init [OPTIONS] PROVIDER [POOL]", "EXIT STATUS", "FILES", "\n       12"):
        assert words in page


def test_library_is_compiled(installed: Tree) -> None:
    sources = installed.run(f"cd {LIBRARY}; find . -name '*.py' | wc -l")
    assert installed.run(f"cd {LIBRARY}; find . -name '*.pyc' | wc -l") == sources
    # What was compiled is what runs.
    call = f"VOL_NAME=v1 EXTSTORAGE_RUN_DIR=/tmp/run /usr/bin/python3 -ISv {PROVIDER}/detach"
    imports = installed.call(call).stderr
    assert f"{LIBRARY}/extstorage_common/__pycache__/script.cpython" in imports
    assert "wrote" not in imports


def test_completion(installed: Tree) -> None:
    """What a bash with this completion offers."""
    script = (
        ". /usr/share/bash-completion/completions/gnt-storage;"
        "COMP_WORDS=(gnt-storage di) COMP_CWORD=1; _gnt_storage_completion gnt-storage; echo ${COMPREPLY[*]}"
    )
    assert installed.run(f"bash -c '{script}'") == "diagnose\n"
