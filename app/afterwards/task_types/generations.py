"""Generations of task code, as a worker hears of them from its master."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from afterwards.effects.settings import NO_EFFECTS, EffectSettings
from afterwards.logs import get_logger
from afterwards.system.board import Board, Notice
from afterwards.task_types import built_in
from afterwards.task_types.base import ExecutorKind
from afterwards.task_types.declaration import Declaration
from afterwards.task_types.declaration import decoded as declarations
from afterwards.task_types.described import Described
from afterwards.task_types.description import (
    Catalogue,
    TypeDescription,
    decoded,
    encoded,
    in_process,
)

log = get_logger(__name__)

LOOK_SECONDS: Final = 0.25
"""The period in which a worker looks for a new generation."""

_GONE_NAMED: Final = 10

AGAIN_SECONDS: Final = 1.0
"""The time until a worker that could not take to a generation tries again."""


class Generation(NamedTuple):
    """Task code as it was on the disk at one time."""

    number: int
    catalogue: Catalogue
    code: bytes
    """For `snapshot.CodeFile`."""
    schedules: Sequence[Declaration] = ()
    """The schedules that its modules declare."""

    @classmethod
    def of(cls, notice: Notice) -> Generation:
        """The generation that was published."""
        return cls(notice.number, *unpacked(notice.data))


class LiveCatalogue(Mapping[str, TypeDescription]):
    """The task types of the latest generation, by their names; replaced in one step.

    Args:
        effects: the settings that payloads of built-in types are held against, and that limit
            some of these types.
        processes_run_on: the executor of types of task modules that say `process`.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        effects: EffectSettings = NO_EFFECTS,
        *,
        processes_run_on: ExecutorKind = "process",
    ) -> None:
        self._effects = effects
        self._processes_run_on = processes_run_on
        self.renew(catalogue)

    def renew(self, catalogue: Catalogue) -> None:
        """Have these task types from now on, and no others."""
        self._latest = {name: self._as_set(one) for name, one in catalogue.items()}

    def _as_set(self, one: TypeDescription) -> TypeDescription:
        if one.module is not None and one.executor == "process":
            return replace(one, executor=self._processes_run_on)
        return self._with_effects(one)

    def _with_effects(self, one: TypeDescription) -> TypeDescription:
        if one.model is None:
            return one
        effects = self._effects
        most = effects.most_at_once(one.name) or one.max_concurrency
        return replace(one, effects=effects, max_concurrency=most)

    def __getitem__(self, name: str) -> TypeDescription:
        return self._latest[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._latest)

    def __len__(self) -> int:
        return len(self._latest)


class News(NamedTuple):
    """The board with the latest generation, and the notice that was on it at the fork."""

    board: Board
    first: Notice

    async def follow(self, renew: Callable[[Generation], Awaitable[None]]) -> None:
        """Have each generation taken that is published from now on, or the one after it."""
        known = self.first.number
        self.board.take(known)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            notice = self.board.read(known)
            if notice is None:
                continue
            try:
                await renew(Generation.of(notice))
            except Exception as error:
                log.exception(
                    "worker cannot take to new task code; it goes on with what it has",
                    generation=notice.number,
                    error=str(error),
                )
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                known = notice.number
                self.board.take(known)


def packed(described: Described) -> bytes:
    """The published description of task modules, and the names of the service's own types."""
    all_types = described.catalogue.values()
    contents = {
        "built_in": [one.name for one in all_types if one.module is None],
        "types": [encoded(one) for one in all_types if one.module is not None],
        "schedules": described.schedules,
    }
    # JSON in ASCII has no line break.
    return json.dumps(contents).encode() + b"\n" + described.code


def unpacked(data: bytes) -> Described:
    """The description that `packed` has made, with the types that come with the service."""
    text, _, code = data.partition(b"\n")
    contents = json.loads(text)
    own = map(decoded, contents["types"])
    ours = in_process(built_in(tuple(contents["built_in"])))
    catalogue = MappingProxyType({**ours, **{one.name: one for one in own}})
    return Described(catalogue, code, declarations(contents["schedules"]))


def summary(data: bytes, former: bytes) -> str:
    """The packed task types and schedules, in words, and the schedules that are gone since then."""
    types, schedules = _numbered(data)
    words = _counted(types, "task type")
    if schedules:
        words += f", {_counted(len(schedules), 'schedule')}"
    gone = sorted(_numbered(former)[1] - schedules)
    if gone:
        rest = len(gone) - _GONE_NAMED
        named = ", ".join(gone[:_GONE_NAMED]) + (f" and {rest} more" if rest > 0 else "")
        words += f"; no longer declared, so they make no tasks: {named}"
    return words


def _numbered(data: bytes) -> tuple[int, frozenset[str]]:
    contents = json.loads(data.partition(b"\n")[0])
    return len(contents["types"]), frozenset(
        one.name for one in declarations(contents["schedules"])
    )


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
