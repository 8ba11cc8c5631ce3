# SPDX-License-Identifier: Apache-2.0
"""What ``pip install .`` puts on a node works from where Ganeti looks for it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.conftest import CHECKOUT, MARKER, Site

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
mount -t tmpfs tmpfs /usr/local
/usr/bin/python3 -m pip install --quiet --no-deps --no-build-isolation --break-system-packages \
    --root-user-action=ignore --disable-pip-version-check "$1"
cd /usr/local/lib/ganeti/extstorage/file
ls
/usr/local/bin/gnt-storage info file | sed -n '/Pools/p'
./create && ./attach && ./attach && ./verify && ./detach && ./remove
"""


def test_installed_by_pip(site: Site, tmp_path: Path) -> None:
    source = tmp_path / "source"
    # A copy, since building writes beside the source; without what other tests are just writing there.
    shutil.copytree(
        CHECKOUT,
        source,
        symlinks=True,
        ignore=shutil.ignore_patterns(".*", "__pycache__", "pytest-cache-files-*", "build", "*.egg-info"),
    )
    node = site.node("n1")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-euc", SCRIPT, "sh", str(source)],
        env={
            **node.environment,
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(tmp_path),
        }
        | {"VOL_NAME": "v1", "VOL_SIZE": "16"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.split("\n")
    scripts = sorted(path.name for path in (CHECKOUT / "providers/file").iterdir())
    assert lines[: len(scripts)] == scripts
    assert lines[len(scripts)] == "  - Pools: default"
    assert lines[len(scripts) + 1 :] == [str(node.run_dir / "dev/v1")] * 2 + [""]
    assert [path.name for path in site.pool.iterdir()] == [MARKER]
