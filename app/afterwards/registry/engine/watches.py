"""The ends of workers' processes: each is seen, and that of a silent worker is brought about."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from afterwards.logs import get_logger
from afterwards.registry.protocol.base import Worker
from afterwards.system.trouble import Trouble

log = get_logger(__name__)


class Watches:
    """Which workers are watched, and which are to be. For any thread.

    Args:
        when_gone: as `afterwards.registry.protocol.incarnation.when_gone`.
        mark_dead: is called once, from any thread, when a worker's process has ended.
    """

    def __init__(
        self,
        when_gone: Callable[[Worker, Callable[[], None]], None],
        mark_dead: Callable[[Worker], None],
    ) -> None:
        self._when_gone = when_gone
        self._mark_dead = mark_dead
        self._watched: set[Worker] = set()
        self._waiting: set[Worker] = set()
        self._trouble = Trouble(log, "workers' processes cannot be watched; trying again")

    def watch(self, worker: Worker) -> None:
        """Watch it, now or when that is possible, unless it is watched."""
        if worker in self._watched:
            return
        # Before it is: it may be gone already.
        self._watched.add(worker)
        try:
            self._when_gone(worker, lambda: self._gone(worker))
        except (OSError, RuntimeError, MemoryError) as error:
            self._watched.discard(worker)
            self._waiting.add(worker)
            self._trouble.failed(error)
        else:
            self._waiting.discard(worker)
            self._trouble.over()

    def try_again(self) -> None:
        """Watch those that could not be; to be called every second or so.

        Not by their own beats only: the dead have none.
        """
        for worker in list(self._waiting):
            self.watch(worker)

    def _gone(self, worker: Worker) -> None:
        self._watched.discard(worker)
        self._mark_dead(worker)


class Killer:
    """Ends the processes of workers whose lease has ended (rule 20). For one thread at a time.

    Args:
        end: as `afterwards.registry.protocol.incarnation.end`.
        is_alive: as `afterwards.registry.protocol.incarnation.is_alive`.
        mark_dead: is called when a worker's process has ended, perhaps not for the first time.
    """

    def __init__(
        self,
        end: Callable[[Worker], None],
        is_alive: Callable[[Worker], bool],
        mark_dead: Callable[[Worker], None],
    ) -> None:
        self._end = end
        self._is_alive = is_alive
        self._mark_dead = mark_dead
        self._told: set[Worker] = set()
        self._trouble = Trouble(log, "silent workers cannot be ended; trying again")

    def end(self, workers: Iterable[Worker]) -> None:
        """End these; to be called again, soon, for those that have not ended then."""
        workers = list(workers)
        self._told.intersection_update(workers)
        for worker in workers:
            if worker not in self._told:
                self._told.add(worker)
                log.error("worker is silent; ending its process", worker=str(worker))
            with self._trouble.survived():
                self._end(worker)
                # Its watch may not have been had.
                if not self._is_alive(worker):
                    self._mark_dead(worker)
