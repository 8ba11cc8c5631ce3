# SPDX-License-Identifier: Apache-2.0
"""The ways to log in to the array (the reference's section 1.1), and the model as a person starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.appliances.running import Native
from tests.conftest import CHECKOUT
from tests.lefthand.conftest import ArraySite


@pytest.mark.parametrize("methods", ["keyboard-interactive", "password", "publickey"])
def test_each_way_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, methods: str) -> None:
    """Old versions only ask a question; others take a password, or a key."""
    options = ["--methods", methods]
    if methods == "publickey":
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
        options += ["--authorized-keys", str(tmp_path / "key.pub")]
    array = Native("lefthand", tmp_path / "array", *options)
    try:
        site = ArraySite(tmp_path, array)
        if methods == "publickey":
            text = site.pool_text().replace("password_file", "key_file")
            site.configure("[default]\n" + text.replace("/password\n", "/key\n"))
        node = site.node("n1")
        node.create()
        assert list(site.state()["volumes"]) == ["v1"]
    finally:
        array.stop()


def test_the_model_explains_itself() -> None:
    command = [sys.executable, "-m", "tests.appliances.lefthand", "--help"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for word in ("--listen", "--export", "--vips", "CLIQ"):
        assert word in done.stdout
