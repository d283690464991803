"""Connections that give way to others, and the addresses that they count for."""

from __future__ import annotations

import pytest

from afterwards.server.connections import BYTES_IN_FLIGHT, SHARE, TRIALS, Client, Connections


class Peer:
    """A connection that closes when it is told to give way."""

    def __init__(self, connections: Connections, address: str | None) -> None:
        self.all = connections
        self.client: Client = connections.client_of(address)
        self.is_open = True
        self.has_room = connections.open(self, self.client)

    def give_way(self) -> None:
        self.end()

    def end(self) -> None:
        assert self.is_open
        self.is_open = False
        self.all.close(self, self.client)

    def begin(self) -> None:
        self.all.become_busy(self, self.client)

    def finish(self) -> None:
        self.all.become_idle(self, self.client)


def test_at_the_limit_the_longest_idle_connection_gives_way() -> None:
    connections = Connections(8)
    peers = [Peer(connections, f"10.0.0.{n}") for n in range(8)]
    peers[0].begin()
    peers[1].begin()
    peers[1].finish()
    assert Peer(connections, "10.0.1.0").has_room
    assert [peer.is_open for peer in peers] == [True, True, False] + 5 * [True]
    peers[0].finish()
    assert Peer(connections, "10.0.1.1").has_room
    assert [n for n, peer in enumerate(peers) if not peer.is_open] == [2, 3]


def test_an_address_holds_its_share_and_its_own_longest_idle_connection_gives_way() -> None:
    connections = Connections(40)
    other = Peer(connections, "10.0.0.1")
    peers = [Peer(connections, "10.0.0.2") for _ in range(40 // SHARE)]
    assert Peer(connections, "10.0.0.2").has_room
    assert other.is_open
    assert [peer.is_open for peer in peers] == [False] + 9 * [True]


def test_a_share_belongs_to_a_site() -> None:
    connections = Connections(8)
    same = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8::2%eth0"]
    assert len({connections.client_of(address).key for address in same}) == 1
    assert connections.client_of("2001:db8:0:1::1").key != connections.client_of(same[0]).key
    assert connections.client_of("::ffff:10.0.0.1").key == "10.0.0.1"


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7", None])
def test_a_trusted_proxy_may_hold_all(address: str | None) -> None:
    connections = Connections(8, ["10.0.0.0/8", "2001:db8::7"])
    peers = [Peer(connections, address) for _ in range(8)]
    assert all(peer.is_open for peer in peers)
    assert not Peer(connections, "10.0.0.1").client.most < 8
    assert Connections(8, ["10.0.0.0/8"]).client_of("11.0.0.1").most == 2


def test_where_none_is_idle_a_new_one_is_on_trial_until_there_is_room() -> None:
    connections = Connections(4)
    peers = [Peer(connections, f"10.0.0.{n}") for n in range(4)]
    for peer in peers:
        peer.begin()
    late = Peer(connections, "10.0.1.0")
    assert not late.has_room
    assert not connections.admit(late, late.client)
    peers[2].finish()
    assert connections.admit(late, late.client)
    assert not peers[2].is_open
    late.end()
    assert Peer(connections, "10.0.1.1").has_room


def test_so_many_are_on_trial_and_the_eldest_gives_way() -> None:
    connections = Connections(1)
    Peer(connections, "10.0.0.0").begin()
    trials = [Peer(connections, f"10.0.1.{n % 7}") for n in range(TRIALS + 3)]
    assert [n for n, peer in enumerate(trials) if not peer.is_open] == [0, 1, 2]


def test_counts_are_those_of_what_is_open_whatever_comes_and_goes() -> None:
    connections = Connections(4)
    peers: list[Peer] = []
    for n in range(500):
        peer = Peer(connections, f"10.0.0.{n % 3}")
        if n % 2 and peer.is_open:
            peer.begin()
        peers.append(peer)
        if n % 5 == 0 and peers[n // 2].is_open:
            peers[n // 2].end()
        open_now = [peer for peer in peers if peer.is_open]
        assert len(open_now) <= 4 + TRIALS
    for peer in peers:
        if peer.is_open:
            peer.end()
    fresh = [Peer(connections, f"10.0.0.{n}") for n in range(4)]
    assert all(peer.has_room and peer.is_open for peer in fresh)


def test_answers_in_flight_are_bounded_together_and_for_each_address() -> None:
    connections = Connections(100)
    share = BYTES_IN_FLIGHT // SHARE
    clients = [connections.client_of(f"10.0.0.{n}") for n in range(SHARE + 1)]
    for client in clients[:SHARE]:
        assert connections.has_room(share, client)
        connections.take(share, client)
        assert not connections.has_room(1, client)
    assert not connections.has_room(1, clients[SHARE])
    connections.give_back(share, clients[0])
    assert connections.has_room(share, clients[SHARE])
    assert connections.has_room(share, clients[0])
