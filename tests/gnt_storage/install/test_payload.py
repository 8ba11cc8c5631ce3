# SPDX-License-Identifier: Apache-2.0
"""What is gathered here for the nodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from extstorage_common import __version__
from extstorage_common.backends.file import FileBackend
from extstorage_common.config import Option, SecretFile
from extstorage_common.errors import ConfigurationError
from gnt_storage.install import payload
from gnt_storage.install.agent import door
from gnt_storage.install.agent.node import CONFIG
from gnt_storage.nodes.program import COMMAND
from gnt_storage.suite_provider import ProviderNotFound
from tests.conftest import CHECKOUT, Site
from tests.gnt_storage.install.conftest import SECRET, changed


@pytest.fixture
def configured(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site whose configuration is this process's."""
    monkeypatch.setenv("EXTSTORAGE_CONFIG_DIR", str(site.config))
    return site


def test_the_suite_is_this_one() -> None:
    tree = payload.suite()
    for package in ("extstorage_common", "gnt_storage"):
        for path in (CHECKOUT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = tree[str(path.relative_to(CHECKOUT))]
                assert entry.content == path.read_bytes()
                assert entry.mode == (0o755 if os.access(path, os.X_OK) else 0o644), path


def test_a_release_is_named_by_its_content(configured: Site) -> None:
    one, two = payload.gather({"file": "file"}), payload.gather({"nfs1": "file"})
    assert one.release == two.release
    version, _, digest = one.release.rpartition("-")
    assert (version, len(digest)) == (__version__, 12)
    assert changed(one, {"extstorage_common/door": b""}).release != one.release


def test_configuration_and_the_secrets_it_names(configured: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    options = (*FileBackend.OPTIONS, Option("password_file", SecretFile(), "", "a secret"))
    monkeypatch.setattr(FileBackend, "OPTIONS", options)
    secret = configured.directory / "secret"
    secret.write_bytes(SECRET)
    text = f"[DEFAULT]\npassword_file = {secret}\n[gold]\ndirectory = /gold\n[silver]\ndirectory = /silver\n"
    configured.configure(text)
    what = payload.gather({"file": "file"})
    path = str(secret).lstrip("/")
    assert what.secrets == [path]
    assert what.files[path] == (0o600, SECRET, True)
    assert what.files[f"{CONFIG}/file.conf"].content == text.encode()
    # It is sent in the archive alone.
    stdin = what.installation(verify=True, dry_run=False)
    size, _, rest = stdin.partition(b"\n")
    assert door.parts(rest[int(size) :])[2] == what.files
    assert all(SECRET.strip() not in word.encode() for word in COMMAND)
    secret.unlink()
    with pytest.raises(ConfigurationError, match=f"names {secret}, which can't be read: No such file"):
        payload.gather({"file": "file"})


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o644, 0o644), (0o666, 0o644), (0o640, 0o640), (0o400, 0o600)]
)
def test_configuration_keeps_its_mode_but_for_writing(configured: Site, mode: int, expected: int) -> None:
    (configured.config / "file.conf").chmod(mode)
    assert payload.gather({"file": "file"}).files[f"{CONFIG}/file.conf"].mode == expected


def test_which_backend_a_provider_is(configured: Site) -> None:
    (configured.config / "nfs1.conf").write_text("[a]\nbackend = file\ndirectory = /a\n")
    (configured.directory / "nfs2").symlink_to(CHECKOUT / "providers/file")
    assert payload.resolve("file", None) == ("file", "file")
    assert payload.resolve("file", "other") == ("other", "file")
    assert payload.resolve("nfs1", None) == ("nfs1", "file")
    assert payload.resolve(str(configured.directory / "nfs2"), None) == ("nfs2", "file")
    assert payload.resolve(str(CHECKOUT / "providers/file"), "nfs1") == ("nfs1", "file")
    with pytest.raises(ProviderNotFound):
        payload.resolve("nosuch", None)


def test_the_system_gets_what_the_package_brings() -> None:
    for name, _, _ in payload.SYSTEM_FILES:
        packaged = CHECKOUT / f"debian/ganeti-extstorage.{name}"
        assert packaged.resolve() == Path(payload.__file__).with_name("system") / name
