"""A token in a file becomes the first key, before anybody is served, and never a second one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from afterwards.access.keyring import Keyring
from afterwards.access.roles import Role
from afterwards.access.tokens import new_token
from afterwards.errors import ConfigurationError
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.process.access import in_memory
from afterwards.registry.process.first_key import SETTING, provide
from afterwards.registry.process.manager import connect
from afterwards.registry.process.supervised import RegistryStartError
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.key_requests import Keys, KeysOff
from afterwards.registry.protocol.requests import Activity
from tests.registry.bench import Bench
from tests.registry.conftest import Hosted
from tests.registry.peers import SERVICE, ask

TOKEN = new_token()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "first_key"
    file.write_text(f"{TOKEN.text}\n")
    return file


def ring_of(registry: Registry) -> Keyring:
    ring: Keyring = ask(registry, Keys())
    return ring


def test_a_registry_process_that_serves_has_the_key_already(hosted: Hosted, file: Path) -> None:
    process = hosted.start(first_key_file=str(file))
    registry = connect(process.endpoint)
    key = ring_of(registry).find(TOKEN.text.encode(), 0.0)
    assert key is not None
    assert (key.name, key.role, key.payloads) == ("first", Role.ADMIN, True)
    [entry] = ask(registry, Activity()).entries
    assert (entry.verb, entry.object, entry.actor) == ("create", "key", SETTING)

    # Once there is a key the file is not even looked at.
    file.unlink()
    hosted.kill(process)
    assert len(ring_of(hosted.reopen(process)).keys) == 1


def test_a_registry_in_memory_has_it_too(hosted: Hosted, file: Path) -> None:
    access = in_memory(hosted.config(first_key_file=str(file)))
    assert ring_of(access.connect()).find(TOKEN.text.encode(), 0.0) is not None
    access.close()


def test_it_is_not_made_again_where_keys_were_turned_off(bench: Bench, file: Path) -> None:
    registry = bench.registry()
    provide(registry, str(file))
    ask(registry, KeysOff())
    provide(registry, str(file))
    assert not ring_of(registry).required


def test_without_the_setting_no_key_is_required(bench: Bench) -> None:
    registry = bench.registry()
    provide(registry, "")
    assert not ring_of(registry).required


@pytest.mark.parametrize("text", ["", "hunter2", f"{TOKEN.text} {TOKEN.text}", "x" * 2_000])
def test_what_is_no_token_ends_the_start_and_is_not_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    registry = MemoryRegistry(SERVICE)
    try:
        with pytest.raises(ConfigurationError, match="must hold one token") as refused:
            provide(registry, str(tmp_path / "file"))
    finally:
        registry.close()
    assert not text or text not in str(refused.value)


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    registry = MemoryRegistry(SERVICE)
    try:
        with pytest.raises(ConfigurationError, match="must hold one token"):
            provide(registry, str(pipe))
    finally:
        registry.close()


def test_a_file_that_is_not_there_ends_the_start_with_one_line(
    hosted: Hosted, tmp_path: Path
) -> None:
    with pytest.raises(RegistryStartError, match=f"{SETTING}: .*No such file") as refused:
        hosted.start(first_key_file=str(tmp_path / "none"))
    assert "\n" not in str(refused.value)
