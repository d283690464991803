"""The price of an option: submissions with it, beside the same service without, and the bare route.

The rates of a busy machine differ by more than these prices, so the processor time of a task, over
all processes of the service, stands beside them.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from loadtests.bench import synced
from loadtests.bench.figures import Figure, Row
from loadtests.bench.notification import PAYLOAD, SUBMIT
from loadtests.bench.stand import Stand, check_accepted, durable_text
from loadtests.connection import Connection
from loadtests.errors import LoadTestError
from loadtests.servers import Service, running

_KEY_BYTES: Final = 32
_WANTED: Final = 0.03
"""The ratio to the bare route may fall by this much with keys."""


@dataclass
class _Side:
    """A service, and what was measured on it, round by round."""

    service: Service
    accepted: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    processor_us: list[float] = field(default_factory=list)
    """The processor time of a task, over all processes."""

    def load(self, stand: Stand) -> None:
        """One round: submissions as fast as they are accepted, until all are finished."""
        before = self.service.counts()
        used = self.service.processor_seconds()
        load = stand.post(self.service)
        after = self.service.wait_finished(before.submitted + load.answers)
        used = self.service.processor_seconds() - used
        tasks = check_accepted(load.answers, stand.sizes.connections, before, after)
        self.accepted.append(load.per_second)
        self.finished.append(tasks / (after.at - load.started))
        self.processor_us.append(used / tasks * 1e6)


@dataclass
class _Measured:
    """All rounds of an option."""

    measurement: str
    dearer: _Side
    plain: _Side
    bare: list[float]
    """Answers of the bare route."""
    durable: str


def measure_keys(stand: Stand) -> Iterator[Row]:
    """Every request shows the token of an administrator's key."""
    keyed = stand.service()
    keyed.require_key()
    measured = _measure(stand, "keyed", keyed, _require_refusal)
    wanted = f"; at most {_WANTED} less wanted"
    yield from _rows(measured, "with a key", "without", wanted)


def measure_encryption(stand: Stand) -> Iterator[Row]:
    """The content of each task is encrypted before it is written."""
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    encrypted = stand.service(encryption_keys=f"bench:{key}")
    measured = _measure(stand, "encrypted", encrypted, _require_ciphertext)
    yield from _rows(measured, "encrypted", "not encrypted")


def _measure(
    stand: Stand, measurement: str, service: Service, check: Callable[[Service, Service], None]
) -> _Measured:
    dearer, plain, bare = _Side(service), _Side(stand.service()), stand.bare()
    answered: list[float] = []
    with running(service, plain.service, bare):
        durability = synced.require(service, stand.sizes.synced)
        synced.require(plain.service, stand.sizes.synced)
        check(service, plain.service)
        stand.warm_up(service, plain.service, bare)
        first = service.wait_finished(0)
        for number in stand.rounds(measurement):
            # What begins a round ends the next one: a drift of the machine is one for both.
            begins, ends = (dearer, plain) if number % 2 == 0 else (plain, dearer)
            begins.load(stand)
            answered.append(stand.post(bare).per_second)
            ends.load(stand)
        last = service.counts()
    durable = durable_text(durability, first, last)
    return _Measured(measurement, dearer, plain, answered, durable)


def _require_refusal(keyed: Service, plain: Service) -> None:
    """Raise `LoadTestError` unless the one needs the key, and the other none."""
    with Connection(keyed.address) as stranger:
        stranger.expect(401, SUBMIT)
    with Connection(plain.address) as stranger:
        stranger.expect(202, SUBMIT)


def _require_ciphertext(encrypted: Service, plain: Service) -> None:
    """Raise `LoadTestError` unless only the other's journal shows what is in a task."""
    for service, is_readable in ((encrypted, False), (plain, True)):
        with service.connect() as connection:
            connection.expect(202, SUBMIT)
        files = service.data_dir.glob("journal.sqlite3*")
        found = any(PAYLOAD["email"].encode() in file.read_bytes() for file in files)
        if found is not is_readable:
            raise LoadTestError(f"{service.data_dir}: payloads can be read: {found}")


def _rows(measured: _Measured, name: str, without: str, wanted: str = "") -> Iterator[Row]:
    dearer, plain = measured.dearer, measured.plain

    def row(what: str, unit: str, ours: list[float], beside: list[float], than: str) -> Row:
        return Row(
            measured.measurement,
            f"POST, {name}: {what}",
            unit,
            Figure.of(ours),
            Figure.of(beside),
            than,
            measured.durable,
        )

    accepted = "accepted, durable"
    beside_bare = row(accepted, "1/s", dearer.accepted, measured.bare, "bare route")
    yield replace(beside_bare, note=_fall(measured) + wanted)
    yield row(accepted, "1/s", dearer.accepted, plain.accepted, without)
    yield row("finished, end to end", "1/s", dearer.finished, plain.finished, without)
    yield row("processor time of a task", "us", dearer.processor_us, plain.processor_us, without)


def _fall(measured: _Measured) -> str:
    """The words about how far the ratio to the bare route falls, round by round."""
    sides = zip(measured.dearer.accepted, measured.plain.accepted, measured.bare, strict=True)
    change = Figure.of((dearer - plain) / bare for dearer, plain, bare in sides)
    return (
        f"accepted/bare {change.median:+.3f} ({change.low:+.3f}..{change.high:+.3f}) against "
        "the service without"
    )
