"""A worker's keys: renewed when the registry has others, and the uses that it is told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from afterwards.access.keyring import Keyring, RingNews
from afterwards.access.meters import Meters
from afterwards.registry.protocol.key_requests import Keys, Share, Touch

_MINUTE: Final = 60.0


class Ring:
    """The keys as the registry told them last.

    Args:
        renewed: is given each new ring, from any thread.
    """

    def __init__(self, renewed: Callable[[Keyring], None]) -> None:
        self._renewed = renewed
        self._ring: Keyring | None = None
        self.is_outdated = False
        """True while the registry is known to have another one."""
        self.used: dict[str, float] = {}
        """The last uses of keys that the registry was not told of, by their id; of the event loop.
        Only valid keys are used, so there are no more than keys."""
        self.meters = Meters()
        """This worker's use of the limits of keys."""
        self._told: dict[str, float] = {}
        """The minutes of uses that it was told of."""

    def heard(self, version: int | None) -> None:
        """A reply tells the registry's version; None: it does not say."""
        if version is not None:
            self.is_outdated = self._ring is None or version != self._ring.version

    def request(self) -> Keys:
        """The request for what has changed since."""
        return Keys(None if self._ring is None else self._ring.version)

    def take(self, answer: object) -> None:
        """`Keys` was answered; with an error, it is asked for again."""
        if isinstance(answer, RingNews):
            # The one before may have been answered twice, over two connections.
            if self._ring is None or answer.since != self._ring.version:
                return
            answer = self._ring.renewed(answer)
        if isinstance(answer, Keyring):
            self._ring = answer
            self._renewed(answer)

    def uses(self) -> Touch | None:
        """The uses that the registry has to be told of, each key once a minute; None: no uses."""
        if not self.used:
            return None
        minutes = {key_id: at // _MINUTE * _MINUTE for key_id, at in self.used.items()}
        self.used.clear()
        news = {key_id: at for key_id, at in minutes.items() if self._told.get(key_id) != at}
        latest = max(minutes.values())
        self._told = {key_id: at for key_id, at in self._told.items() if at == latest} | minutes
        return Touch(news) if news else None

    def share(self, *, beat: bool) -> Share | None:
        """The uses of keys with limits that the registry has to be told of; None: no uses."""
        used = self.meters.news(beat=beat)
        return None if used is None else Share(used, beat)

    def shared(self, answer: object) -> None:
        """`Share` was answered; after an error, the next one tells of what was spent since."""
        if isinstance(answer, Mapping):
            self.meters.hear(answer)
