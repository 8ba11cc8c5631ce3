# SPDX-License-Identifier: Apache-2.0
"""Every backend and connector keeps the contract, and the checked-in files say what the tables say."""

from __future__ import annotations

import inspect
import os

import pytest

from extstorage_common import backends, config, connectors
from extstorage_common.backends.base import Backend
from extstorage_common.connectors.base import Connector
from extstorage_common.deadline import Deadline
from extstorage_common.request import VARIABLES
from tests.conftest import CHECKOUT


@pytest.mark.parametrize("base", [Backend, Connector])
def test_contract_is_documented(base: type) -> None:
    for name, method in inspect.getmembers(base, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.getdoc(method), name


@pytest.mark.parametrize("name", backends.NAMES)
def test_backend(name: str) -> None:
    backend = backends.load(name)
    assert issubclass(backend, Backend)
    assert not inspect.isabstract(backend)
    assert name == backend.NAME
    assert backend.CONNECTOR in connectors.NAMES
    options = [option.name for option in (*config.COMMON_OPTIONS, *backend.OPTIONS)]
    assert len(options) == len(set(options))
    assert config.BACKEND_KEY not in options
    for option in backend.OPTIONS:
        assert option.help
        assert option.default in (None, "") or option.kind.parse(option.default) is not None
    if not backend.CAPABILITIES.fences:
        assert "fence" not in vars(backend)
    for method, function in inspect.getmembers(backend, inspect.isfunction):
        contract = getattr(Backend, method, None)
        if contract is not None and not method.startswith("_"):
            assert list(inspect.signature(function).parameters) == list(
                inspect.signature(contract).parameters
            ), method


@pytest.mark.parametrize("name", backends.NAMES)
def test_backend_of_a_pool_that_has_a_controller(name: str) -> None:
    """It is made there, of a pool that says nothing else, and tells what verify looks for."""
    backend = backends.load(name)
    table = (*config.COMMON_OPTIONS, *backend.OPTIONS)
    said = {"gold": {"controller": "storage.test.example"}}
    pool = config.Configuration(name, f"{name}.conf", said).pool("gold", table, backend.DEFAULTS)
    remote = backends.open_pool(backend, pool, "n1", Deadline(1))
    assert remote.NAME == "remote"
    assert remote.CONNECTOR == backend.CONNECTOR
    assert len(remote.checks()) > 1


@pytest.mark.parametrize("name", connectors.NAMES)
def test_connector(name: str) -> None:
    connector = connectors.load(name)
    assert issubclass(connector, Connector)
    assert not inspect.isabstract(connector)
    assert name == connector.NAME
    for key in connector.KEEP:
        assert not any(word in key for word in ("password", "secret", "key", "auth"))
    for method, function in inspect.getmembers(connector, inspect.isfunction):
        contract = getattr(Connector, method, None)
        if contract is not None and not method.startswith("_"):
            assert list(inspect.signature(function).parameters) == list(
                inspect.signature(contract).parameters
            ), method


@pytest.mark.parametrize("name", sorted(path.name for path in (CHECKOUT / "providers").iterdir()))
def test_provider_directory(name: str) -> None:
    directory = CHECKOUT / "providers" / name
    assert {path.name for path in directory.iterdir()} == {*VARIABLES, "parameters.list"}
    for action in VARIABLES:
        assert os.readlink(directory / action) == "../../extstorage_common/door"
    table = (*config.COMMON_OPTIONS, *backends.load(name).OPTIONS)
    lines = [f"{option.name} {option.help}\n" for option in config.parameters_of(table)]
    assert (directory / "parameters.list").read_text() == "".join(lines)


def test_imports_point_one_way() -> None:
    """request, errors and config know nobody above them; backends and connectors not each other."""
    forbidden = {
        "errors.py": ("extstorage_common",),
        "request.py": ("workflow", "backends", "connectors", "config"),
        "config.py": ("workflow", "backends", "connectors"),
        "backends/*.py": ("workflow", "connectors", "gnt_storage"),
        "connectors/*.py": ("workflow", "backends", "gnt_storage"),
        "*.py": ("gnt_storage",),
    }
    for pattern, names in forbidden.items():
        for path in (CHECKOUT / "extstorage_common").glob(pattern):
            if path.name == "__init__.py":
                continue
            imports = [line for line in path.read_text().splitlines() if "import " in line]
            for line in imports:
                assert not any(f"{name} import" in line or f"import {name}" in line for name in names), line
