"""The service manager's socket, as sd_notify(3) has it."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwards.system.notify_socket import NotifySocket

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        yield name, listener


def handed_in(patch: pytest.MonkeyPatch, **variables: str) -> NotifySocket | None:
    for name, value in variables.items():
        patch.setenv(name, value)
    return NotifySocket.handed_in()


def test_assignments_arrive_as_one_message(
    manager: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, listener = manager
    ours = handed_in(monkeypatch, NOTIFY_SOCKET=name)
    assert ours is not None
    ours.send("RELOADING=1", "MONOTONIC_USEC=7")
    assert listener.recv(100) == b"RELOADING=1\nMONOTONIC_USEC=7"


def test_nobody_listens_if_the_environment_names_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert handed_in(monkeypatch) is None
    assert handed_in(monkeypatch, NOTIFY_SOCKET="") is None


def test_no_child_finds_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    handed_in(monkeypatch, **dict.fromkeys(VARIABLES, "1"))
    assert not os.environ.keys() & set(VARIABLES)


@pytest.mark.parametrize(
    ("variables", "watches"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "90000000"}, True),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}, False),
    ],
)
def test_the_watchdog_is_this_process_s_own(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], watches: bool
) -> None:
    ours = handed_in(monkeypatch, NOTIFY_SOCKET="/run/notify", **variables)
    assert ours is not None
    assert ours.watchdog is watches


def test_a_manager_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        NotifySocket(str(tmp_path / "gone"), watchdog=False).send("READY=1")
