"""The acceptance of tasks that running tasks submit (rule 29)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from afterwards.errors import ChildrenRefused, IllegalTransition, LimitReached, StaleReport
from afterwards.lifecycle import MAX_CHILDREN, MAX_CHILDREN_BYTES, MAX_DEPTH, Task, TaskState
from afterwards.registry.protocol.requests import SubmitChildren
from afterwards.registry.state.acceptance import Acceptance, Room
from afterwards.registry.state.quotas import Quotas
from afterwards.registry.state.store import Archive, TaskStore


class Children:
    """Accepts children, all or none of those that are submitted together."""

    def __init__(
        self,
        store: TaskStore,
        archive: Archive,
        room: Room,
        quotas: Quotas,
        acceptance: Acceptance,
    ) -> None:
        self._store = store
        self._archive = archive
        self._room = room
        self._quotas = quotas
        self._acceptance = acceptance
        self.verbs: dict[type, Callable[[Any], Any]] = {SubmitChildren: self._submit}

    def _submit(self, request: SubmitChildren) -> None:
        parent = self._store.get(request.task_id)
        if parent is None:
            raise StaleReport(request.task_id, request.attempt, 0, "finished or unknown")
        if parent.state is not TaskState.PROCESSING or parent.attempt != request.attempt:
            raise StaleReport(parent.id, request.attempt, parent.attempt, parent.state.value)
        # An earlier attempt may have submitted them, at whatever time.
        known = self._acceptance.is_known
        self.accept(parent, [one for one in request.tasks if not known(one.id, archived=True)])

    def accept(self, parent: Task, children: Sequence[Task]) -> None:
        """Accept the children of a task that runs.

        Raises:
            IllegalTransition: the cancellation of their parent was asked for.
            ChildrenRefused: they are too many, too large or too deep, or there is no room for them.
        """
        if not children:
            return
        if parent.cancel_requested:
            verb = "submit tasks any more: its cancellation was asked for"
            raise IllegalTransition(parent.id, parent.state.value, verb)
        problem = self._problem(parent, children)
        if problem is not None:
            raise ChildrenRefused(parent.id, problem)
        for child in children:
            self._acceptance.accept(child.born_of(parent))

    def _problem(self, parent: Task, children: Sequence[Task]) -> str | None:
        number, size = self._counted(parent)
        added = sum(len(child.payload) for child in children)
        if parent.depth >= MAX_DEPTH:
            return f"it has {parent.depth} ancestors, and tasks may be nested {MAX_DEPTH} deep"
        if number + len(children) > MAX_CHILDREN:
            return f"{number + len(children)} tasks, and a task may submit {MAX_CHILDREN}"
        if size + added > MAX_CHILDREN_BYTES:
            return f"{size + added} bytes of payload, and a task may submit {MAX_CHILDREN_BYTES}"
        try:
            self._quotas.require(parent.owner, added, len(children))
        except LimitReached as error:
            return str(error)
        return self._room.refusal_of_children(added, len(children))

    def _counted(self, parent: Task) -> tuple[int, int]:
        """The number of its children so far, and the bytes of their payloads."""
        counted = self._store.children.of(parent.id)
        if counted is None:
            counted = self._archive.children_of(parent.id)
            self._store.children.learn(parent.id, counted)
        return counted
