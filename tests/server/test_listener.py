from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwards.errors import ConfigurationError
from afterwards.server import listener
from afterwards.settings import Settings


def test_an_address_that_is_given_up_soon_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setattr("afterwards.server.listener.time.sleep", lambda _: taken.close())
    with listener.listen(Settings(bind=address)) as ours:
        assert str(listener.Address.of(ours)) == f"http://{address}"


@pytest.fixture
def hands_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A TCP socket, not listening, that is handed in beside whatever else has descriptor 3."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setattr(listener, "_FIRST_HANDED_IN", os.dup(held.fileno()))
        yield held


def test_a_socket_that_is_handed_in_is_taken_once(hands_in: socket.socket) -> None:
    hands_in.listen()
    with listener.handed_in() or pytest.fail("nothing is taken") as ours:
        assert ours.getsockname() == hands_in.getsockname()
        assert not ours.get_inheritable()
    assert not [name for name in os.environ if name.startswith("LISTEN_")]
    assert listener.handed_in() is None


def test_sockets_for_another_process_are_not_taken(
    hands_in: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands_in.listen()
    monkeypatch.setenv("LISTEN_PID", "nobody")
    monkeypatch.setenv("LISTEN_FDS", "many")
    assert listener.handed_in() is None
    assert "LISTEN_FDS" not in os.environ


@pytest.mark.parametrize("count", ["0", "2", "x", ""])
def test_more_or_fewer_sockets_than_one_are_refused(
    hands_in: socket.socket, monkeypatch: pytest.MonkeyPatch, count: str
) -> None:
    hands_in.listen()
    monkeypatch.setenv("LISTEN_FDS", count)
    with pytest.raises(ConfigurationError, match=rf"^LISTEN_FDS: must be 1, .*got '{count}'"):
        listener.handed_in()


@pytest.mark.usefixtures("hands_in")
def test_a_socket_that_does_not_listen_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^LISTEN_FDS: the socket must be a listening"):
        listener.handed_in()


@pytest.mark.usefixtures("hands_in")
def test_a_file_in_the_place_of_a_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryFile() as file:
        monkeypatch.setattr(listener, "_FIRST_HANDED_IN", file.fileno())
        with pytest.raises(ConfigurationError, match=r"^LISTEN_FDS: descriptor \d+ is no socket"):
            listener.handed_in()


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0", "unix:a-path"])
def test_an_address_is_a_setting_that_leads_to_it(
    bind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with listener.listen(Settings.load(bind=bind)) as ours:
        address = listener.Address.of(ours)
    if address.port is None:
        Path(address.host).unlink()
    with listener.listen(Settings(bind=address.setting)) as again:
        assert listener.Address.of(again) == address


def test_an_abstract_socket_is_shown_as_systemd_writes_it() -> None:
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0afterwards-{os.getpid()}")
        assert str(listener.Address.of(abstract)) == f"unix:@afterwards-{os.getpid()}"
