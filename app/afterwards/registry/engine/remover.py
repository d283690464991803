"""Files that no task needs any more: removed beside the work, once that is committed.

The journal has the list (`afterwards.registry.journal.removals`). A thread takes it up step by
step, so no group waits for the disk, and nothing of it is in memory but a step. What is done is
struck off by a group that is written anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from afterwards.errors import JournalUnavailable
from afterwards.logs import get_logger
from afterwards.registry.journal.base import Journal
from afterwards.registry.journal.removals import STEP, Removal
from afterwards.system.artifact_files import remove_all, remove_leftovers
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

AGAIN_SECONDS: Final = 60.0
"""The pause after files that could not be removed."""


class Remover:
    """Removes the files that the journal says have to be.

    Args:
        output_dir: where they are; None: nowhere, and nothing is removed.
        wake: has the committer write a group soon, which takes `done` with it.
    """

    def __init__(
        self,
        journal: Journal,
        output_dir: Path | None,
        wake: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._output_dir = output_dir
        self._wake = wake
        self._trouble = Trouble(log, "files of tasks cannot be removed; trying again")
        self._called = threading.Event()
        self._struck_off = threading.Event()
        self._is_closing = False
        self._lock = threading.Lock()
        self._done: list[Removal] = []
        """Carried out, and not struck off yet. Under the lock; it only grows at its end."""
        self._thread = threading.Thread(target=self._run, name="remover", daemon=True)

    def start(self) -> None:
        """Begin with what an earlier process has left to do."""
        if self._output_dir is not None:
            self._called.set()
            self._thread.start()

    def call(self) -> None:
        """There is something to remove."""
        self._called.set()

    @property
    def done(self) -> Sequence[Removal]:
        """The removals that are carried out, for the next group to strike off."""
        return self._done[:] if self._done else ()

    def committed(self, removed: Sequence[Removal]) -> None:
        """Take note that these, the first of `done`, are struck off."""
        if removed:
            with self._lock:
                del self._done[: len(removed)]
            self._struck_off.set()

    def close(self) -> None:
        """Remove nothing more. What is left is removed after the next start."""
        self._is_closing = True
        self._called.set()
        self._struck_off.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        is_whole = True
        while not self._is_closing:
            self._called.wait(None if is_whole else AGAIN_SECONDS)
            self._called.clear()
            try:
                is_whole = self._pass()
            except JournalUnavailable as error:
                self._trouble.failed(error)
                is_whole = False

    def _pass(self) -> bool:
        """Go through the whole list; False: something could not be removed."""
        assert self._output_dir is not None
        after, is_whole = "", True
        while not self._is_closing:
            # One step is struck off before the next: the rest is in the journal, not in memory.
            self._wait_until_few_are_done()
            found = self._journal.to_remove(after)
            known = set(self._done)
            done = [one for one in found if one not in known and self._is_removed(one)]
            is_whole = is_whole and known.issuperset(set(found).difference(done))
            with self._lock:
                self._done += done
            if len(found) < STEP:
                break
            after = found[-1].task_id
        if is_whole:
            self._trouble.over()
        return is_whole

    def _wait_until_few_are_done(self) -> None:
        while not self._is_closing:
            self._struck_off.clear()
            if len(self._done) < STEP:
                return
            self._wake()
            self._struck_off.wait(AGAIN_SECONDS)

    def _is_removed(self, removal: Removal) -> bool:
        assert self._output_dir is not None
        task_id, attempt, kept = removal
        try:
            if kept is None:
                remove_all(self._output_dir, task_id, attempt)
            else:
                remove_leftovers(self._output_dir, task_id, attempt, kept)
        except (OSError, MemoryError) as error:
            self._trouble.failed(error)
            return False
        return True
