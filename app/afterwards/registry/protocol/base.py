"""The registry's protocol: this page is its specification. `tests/registry/` holds it.

A registry owns all tasks and is the only place that changes one. Workers speak to it by
`exchange`: a batch of requests (`afterwards.registry.protocol.requests`) in, an answer for each and
the worker's new claims (`afterwards.registry.protocol.answers`) out.

The rules
    1.  Nothing is claimable, readable, counted or published before it is committed. An added task
        and the claim on it are one transaction.
    2.  An answer to a request that changes something follows its commit. What is counted and
        published of that follows before the next group, and is in every answer that counts or
        lists events. Reports that were not answered are sent again, before anything else, by
        whatever connection comes next. A `read` waits for no commit: it sees the tasks of a group
        that is being written as they were before it, and all that was answered before the read.
    3.  A report is accepted only while its task is processing under that attempt number.
    4.  Claims are the worker's responsibility from the moment `exchange` returns: its connection
        puts them in the dispatcher's table before it wakes those who wait for an answer.
    5.  A `Beat` lists the claims of that table. What the registry had delivered before and the
        beat omits is released.
    6.  The registry keeps the ledger of slots: a worker never holds more claims of a kind than it
        has slots of it.
    7.  `Add` is idempotent by task id and by `Task.idempotency_key`, which is kept as long as its
        task and belongs to its owner. A repeated key waits for the same commit as everything else.
        `AddAll` likewise: its tasks are one submission, and the first, which has the key, is the
        last to be deleted.
    8.  A claim names the worker's incarnation (`Worker`). After a restart of the registry, claims
        of dead incarnations, or of another service's, are lost at once; living ones have a full
        lease to present theirs.
    9.  Leases age by the registry's own running time. A worker's death, and nothing else, ends the
        claims that it has neither reported nor left out of a list. A worker without an answer for
        `FENCE_SHARE` of its lease stops its attempts by itself.
    10. Cancelling what is processing asks the holder; the holder's report decides. If the holder
        is lost, the task is cancelled.
    11. (Claims that outlive the lease: there are none since rule 20.)
    12. A backoff waits at most its delay, whatever the wall clock does; an absolute `run_at`
        follows the wall clock.
    13. One registry for a data directory, held by a lock (`afterwards.registry.process.lock`). A
        new master never joins an old registry, and only workers of its own service may join a
        registry.
    14. An attempt that ended in a transient error is tried again while attempts remain; the worker
        decides the delay (`afterwards_executors.retry`), the registry guards the number of
        attempts.
    15. Results are bounded (`AFTERWARDS_MAX_RESULT_BYTES`), and so are the payloads of unfinished
        tasks and of schedules together (`Limits.max_pending_bytes`).
    16. Events carry (epoch, sequence). Beyond the window, or from another epoch, a listener gets
        `Events.reset` and the counts.
    17. A schedule's next due time and its task are written in one transaction, by the registry
        itself when the time has come; due times never move back. What is made late leaves half of
        the room to others.
    18. No attempt starts after its task's deadline: what waits then is failed.
    19. Attempts at a type's tasks never exceed its `TypeLimits`, over all workers and restarts;
        those of a paused type wait.
    20. When a worker's lease ends, the registry kills that very process, and gives its claims away
        once it is gone. So does a worker that has left and still holds some.
    21. A lease is renewed by `Beat`, and by `Alive` to no more than `ALIVE_SECONDS` after the last
        `Beat`. `Alive` takes no part in a group: it is answered while one is being written.
    22. Who is to blame for a host's death is found by making the circle smaller. `Suspected` is
        not counted, and sets the crowd that may share a host with the next attempt. Suspects wait
        for slots of the kind `SUSPECTED`, the worker's hosts for them: n claims of a crowd c need
        ceil(n / c). The third loss fails a task if it was alone, as in a `Lost`, or had crowd 1. A
        loss with the whole service, or with a worker, is no proof: the third of the former, or the
        sixth, sets crowd 1, and the next one fails it. Of what ran when the whole service died, at
        most one attempt with crowd 1 runs at a time.
    23. A worker whose generation of task code is behind the latest that any has announced is given
        no claims on types of task modules.
    24. Keys are required once one was made, until `KeysOff`, however many of them are left. What
        changes anybody's rights raises the version of the keys. Each reply to a worker tells it,
        `watch` returns when it has risen, and a worker that knows another version asks for `Keys`.
        A worker that knows none lets no request in.
    25. The unfinished tasks of an owner, and their payloads, never exceed the strictest limit of
        its valid keys by anything that is accepted, retried or amended. Repetitions are answered
        all the same.
    26. The requests, streams and waits of a key never exceed its limits by more than what each
        worker lets in between two of its `Share`. Those of a dead worker count no more.
    27. The transaction that finishes a task, whatever finishes it, also writes its notices: one for
        each webhook that takes it, and one for its callback. A notice becomes a delivery, a task,
        in one transaction, when there is room. So for each webhook, task, number of retries and
        final state there is one delivery, but for those that are asked for by hand. Deliveries
        have no notices. A loss that would fail another task (rule 22) counts as an attempt at a
        delivery that has failed.
    28. Attempts at tasks of one type with the same `concurrency_key` never exceed the type's
        `TypeLimits.concurrency_per_key`, over all workers and restarts. What waits for its key
        keeps its place by priority and age, and holds up nothing else.
    29. Children of a task are accepted in the transaction of its success (`Succeeded.children`), or
        while it runs, under that attempt (`SubmitChildren`); none after its cancellation was asked
        for. They belong to its owner, and count in the owner's limits. A task has at most
        `MAX_CHILDREN` of `MAX_CHILDREN_BYTES`, and `MAX_DEPTH` ancestors. For them there is twice
        the room that there is for others. A task whose children are refused fails.
    30. A task with `follows` is accepted with the group that it follows, and waits without a time.
        The transaction that ends the last unfinished member makes it due. If it follows success,
        the one in which a member ends otherwise cancels it. It is settled once: what becomes of
        members later changes nothing. Members are kept at least until it is finished.
    31. At most one unfinished task of an owner has a `unique_key`. An idempotency key is looked at
        first. A task that meets another one is answered with it, refused, or takes its place, as
        `Add.on_conflict` says; what runs is never replaced. A batch and a retry are refused.
    32. The schedules of task modules are those that the latest task code declares. Every worker
        declares them, and the first one's transaction puts all in place: whatever is declared as it
        is already stays, one that was put by hand becomes the module's, and one that no module
        declares any more rests (`Schedule.gone`). Their pauses are made by hand alone; what is
        declared is changed and deleted by no other verb.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from afterwards.registry.protocol.answers import Answer, Events, Reply
from afterwards.registry.protocol.requests import ReadById, Request

HEARTBEAT_SECONDS = 2.0
LEASE_SECONDS = 10.0
ALIVE_SECONDS = 30.0
"""For so long after its last `Beat` a worker keeps its lease by `Alive`."""
SUSPECTED = "suspected"
"""The kind of slot that tasks with a crowd wait for; each is a host (rule 22)."""
FENCE_SHARE = 0.8
"""A worker without an answer for this share of its lease stops its own attempts."""
FOLLOW_GATHER_SECONDS = 0.02
"""For so long events gather from one answer to a follower to the next: a busy registry answers its
followers fifty times a second, not once a commit."""


class Worker(NamedTuple):
    """A worker's incarnation: two workers, or two services, are never equal."""

    service: str
    """Drawn anew at each start of the service."""
    pid: int
    born: int
    """The process' start time in clock ticks since boot (proc(5), field 22 of stat)."""
    boot: str = ""
    """Which boot of the machine that is; empty: not known."""

    def __str__(self) -> str:
        name = f"{self.service}:{self.pid}:{self.born}"
        return f"{name}:{self.boot}" if self.boot else name

    @classmethod
    def parse(cls, text: str) -> Worker:
        """The inverse of `str`; also of names without a boot, as earlier versions wrote them."""
        service, pid, born, *boot = text.split(":")
        return cls(service, int(pid), int(born), *boot)


class Registry(Protocol):
    """A registry. All methods may be called from any thread and block the caller."""

    def exchange(
        self, worker: Worker | None, connection: int, requests: Sequence[Request]
    ) -> Reply:
        """Carry out `requests` in order, as one group, and answer after their commit.

        The worker's lease is renewed by `Join`, `Beat` and `Alive` only. A caller that is no worker
        (`worker` None) gets no claims and may send no request of a worker about itself.

        Args:
            worker: the caller's incarnation.
            connection: counts the caller's connections. A `Join` makes the highest one current;
                requests of an older one are answered with `NotJoined`, so that nothing sent on a
                connection that was given up takes effect after its successor has begun.
            requests: at most `MAX_BATCH_BYTES` together.
        """

    def read(self, requests: Sequence[ReadById]) -> Sequence[Answer]:
        """Answer for each request, as committed; waits for no group and takes part in none.

        Of any caller. Two reads of one call may see different moments.
        """

    def watch(self, worker: Worker, connection: int, timeout_seconds: float) -> bool:
        """Wait until an `exchange` would give this worker claims or cancels.

        Returns:
            Whether it would; False after `timeout_seconds`, at most 30, or if not joined.
        """

    def follow(self, epoch: str, after: int, timeout_seconds: float) -> Events:
        """Wait until there are events after the position (`epoch`, `after`), and give them.

        A call takes at least `FOLLOW_GATHER_SECONDS` if there are any, so that those of a busy
        registry come in portions, of at most 2,000. A follower that gets `Events.reset` goes on
        from `Events.sequence`, any other from the last event it has got.

        Returns:
            As for `Changes`; without events after `timeout_seconds`, at most 30.
        """


PAGE_BYTES = 4 * 2**20
"""Payloads, results and errors on a page of a list; a single larger task is a page of its own."""

SUMMARY_BYTES = 512
"""The size of each payload in a list with summaries."""

MAX_BATCH_BYTES = 8 * 2**20
"""Payloads in one exchange, either way; a single larger one goes alone."""
