"""The way to the registry with the sight of one key: a rule waits for each kind of request.

Whatever a route asks of the registry goes this way, and nothing is left to the routes. A kind of
request without a rule is refused to keys that do not reach everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any, Final, Protocol

from afterwards.access.keyring import Keyring
from afterwards.errors import NotAllowed, ScheduleNotFound, TaskDeleted, UniqueKeyTaken
from afterwards.registry.protocol import key_requests as k
from afterwards.registry.protocol import requests as r
from afterwards.registry.protocol import webhook_requests as w
from afterwards.registry.protocol.answers import (
    Counted,
    Details,
    ErrorPage,
    Page,
    Scan,
    SchedulePage,
    WorkerList,
)
from afterwards.registry.protocol.filters import Filter
from afterwards.schedules.schedule import Schedule
from afterwards.service.sight import Ask, Sight


class Asks(Protocol):
    """A worker's way to its registry (`afterwards.registry.client.client.RegistryClient`)."""

    async def call(self, request: r.Request) -> Any:
        """Have a request carried out and committed."""

    async def read(self, request: r.ReadById) -> Any:
        """Have a read answered as committed."""

    async def scrape(self) -> bytes:
        """The metrics of the whole service."""


class Narrowed:
    """The way to the registry, with the sight of one key."""

    def __init__(self, client: Asks, sight: Sight) -> None:
        self._client = client
        self._sight = sight

    async def call(self, request: r.Request) -> Any:
        """As `RegistryClient.call`."""
        return await carried_out(self._sight, self._client.call, request)

    async def read(self, request: r.ReadById) -> Any:
        """As `RegistryClient.read`."""
        return await carried_out(self._sight, self._client.read, request)

    async def scrape(self) -> bytes:
        """As `RegistryClient.scrape`."""
        self._sight.reach.require_all("The metrics tell")
        return await self._client.scrape()


async def carried_out(sight: Sight, ask: Ask, request: Any) -> Any:
    """The answer to a request, as far as it is within sight.

    Raises:
        TaskNotFound, ScheduleNotFound: of what is beyond reach, too.
        NotAllowed: the request is.
    """
    rule = _RULES.get(type(request))
    if rule is not None:
        return await rule(sight, ask, request)
    sight.reach.require_all("This is a matter")
    return await ask(request)


# -- tasks -----------------------------------------------------------------------------------------


async def _add(sight: Sight, ask: Ask, request: r.Add) -> Any:
    sight.reach.require_new(request.task)
    if request.task.unique_key is not None:
        request = request._replace(reach=sight.reach.narrowed(Filter()))
    return sight.shown(await _meeting(sight, ask, request))


async def _add_all(sight: Sight, ask: Ask, request: r.AddAll) -> Any:
    for task in request.tasks:
        sight.reach.require_new(task)
    first = await _meeting(sight, ask, request)
    return first if first is None else [sight.shown(task) for task in first]


async def _meeting(
    sight: Sight, ask: Ask, request: r.Add | r.AddAll | r.Retry | r.RunSchedule
) -> Any:
    """The answer to a request that may meet the holder of a unique key."""
    try:
        return await ask(request)
    except UniqueKeyTaken as error:
        raise await sight.taken(ask, error) from None


async def _get(sight: Sight, ask: Ask, request: r.Get) -> Any:
    return sight.shown(await sight.task(ask, request.task_id))


async def _inspect(sight: Sight, ask: Ask, request: r.Inspect) -> Any:
    try:
        details: Details = await ask(request)
    except TaskDeleted:
        raise sight.gone(request.task_id) from None
    sight.found(details.task)
    if details.waiting is not None:
        details = details._replace(waiting=sight.wait(details.waiting))
    return sight.shown(details)


async def _change(
    sight: Sight, ask: Ask, request: r.Retry | r.Amend | r.RunNow | r.Cancel | r.Delete
) -> Any:
    if not sight.reach.is_all:
        await sight.task(ask, request.task_id)
    if isinstance(request, r.Retry | r.Amend) and request.kind is not None:
        sight.reach.require_type(request.kind.type)
    if isinstance(request, r.Retry):
        return sight.shown(await _meeting(sight, ask, request))
    return sight.shown(await ask(request))


async def _find(sight: Sight, ask: Ask, request: r.Find) -> Any:
    wanted = sight.searched(request.filter)
    if wanted is None:
        return Page([], None)
    page: Page = await ask(request._replace(filter=wanted))
    if page.scan is not None and not sight.reach.is_all_tasks:
        # The tasks that were looked at may be beyond reach: their number and times are, too.
        page = page._replace(scan=Scan(len(page.tasks), None, page.scan.complete))
    if page.waiting:
        waiting = {task_id: sight.wait(wait) for task_id, wait in page.waiting.items()}
        page = page._replace(waiting=waiting)
    return sight.shown(page)


async def _count(sight: Sight, ask: Ask, request: r.Count) -> Any:
    wanted = sight.searched(request.filter)
    return Counted(0) if wanted is None else await ask(request._replace(filter=wanted))


# -- task types, and what tells of many tasks ------------------------------------------------------


async def _of_type(sight: Sight, ask: Ask, request: r.Pause | r.Resume) -> Any:
    sight.reach.require_whole_types("A pause is")
    sight.reach.require_type(request.type)
    return await ask(request)


async def _series(sight: Sight, ask: Ask, request: r.Series) -> Any:
    if request.type is None:
        sight.reach.require_all("These series tell")
    else:
        sight.reach.require_whole_types("The series of a type tell")
        sight.reach.require_type(request.type)
    return await ask(request)


async def _errors(sight: Sight, ask: Ask, request: r.Errors) -> Any:
    sight.reach.require_whole_types("Groups of errors tell")
    types = sight.reach.types
    if types is None:
        return sight.shown(await ask(request))
    wanted = types if request.type is None else types & {request.type}
    pages: list[ErrorPage] = [await ask(request._replace(type=name)) for name in sorted(wanted)]
    groups = [group for page in pages for group in page.groups if group.type in types]
    groups.sort(key=lambda one: one.last_seen if request.latest_first else one.number, reverse=True)
    # The tasks that are in no group may be of any type.
    return sight.shown(ErrorPage(groups[: request.limit], 0))


async def _stats(sight: Sight, ask: Ask, request: r.Stats) -> Any:
    sight.reach.require_whole_types("Statistics tell")
    return sight.statistics(await ask(request))


async def _workers(sight: Sight, ask: Ask, request: r.ListWorkers) -> Any:
    sight.reach.require_whole_types("Workers tell")
    found: WorkerList = await ask(request)
    if sight.reach.types is None:
        return found
    workers = []
    for one in found.workers:
        running = [attempt for attempt in one.running if sight.reach.has_type(attempt.type)]
        workers.append(one._replace(running=running, running_total=len(running)))
    return found._replace(workers=workers)


async def _activity(sight: Sight, ask: Ask, request: r.Activity) -> Any:
    sight.reach.require_all("The log of activity tells")
    return await ask(request)


# -- schedules -------------------------------------------------------------------------------------


async def _put_schedule(sight: Sight, ask: Ask, request: r.PutSchedule) -> Any:
    sight.reach.require_new(request.schedule.pattern)
    if not sight.reach.is_all:
        name = request.schedule.name
        try:
            await sight.schedule(ask, name)
        except ScheduleNotFound:
            await _require_free(ask, name)
    return await ask(request)


async def _require_free(ask: Ask, name: str) -> None:
    try:
        await ask(r.GetSchedule(name))
    except ScheduleNotFound:
        return
    raise NotAllowed(f"The name {name!r} is taken by a schedule that this key does not reach")


async def _get_schedule(sight: Sight, ask: Ask, request: r.GetSchedule) -> Any:
    return sight.shown(await sight.schedule(ask, request.name))


async def _change_schedule(
    sight: Sight, ask: Ask, request: r.PauseSchedule | r.DeleteSchedule | r.RunSchedule
) -> Any:
    await sight.schedule(ask, request.name)
    if isinstance(request, r.RunSchedule):
        return sight.shown(await _meeting(sight, ask, request))
    return sight.shown(await ask(request))


async def _schedules(sight: Sight, ask: Ask, request: r.Schedules) -> Any:
    if sight.reach.is_all:
        return sight.shown(await ask(request))
    found: list[Schedule] = []
    after = request.after
    while True:
        # Without their latest tasks, which may have been of other types.
        page: SchedulePage = await ask(request._replace(after=after, results=False))
        found += [one for one in page.schedules if sight.reach.has(one.pattern)]
        after = page.next
        if after is None or len(found) >= request.limit:
            break
    shown = found[: request.limit]
    # Not the name that the registry goes on after, which may be of one beyond reach.
    more = after is not None or len(found) > len(shown)
    return sight.shown(SchedulePage(shown, shown[-1].name if more and shown else None))


# -- webhooks --------------------------------------------------------------------------------------


async def _webhook(sight: Sight, ask: Ask, request: Any) -> Any:
    sight.reach.require_all("Webhooks are a matter")
    return sight.shown(await ask(request))


async def _put_webhook(sight: Sight, ask: Ask, request: w.PutWebhook) -> Any:
    sight.reach.require_all("Webhooks are a matter")
    sight.require_errors("A webhook is told")
    return await ask(request)


# -- keys ------------------------------------------------------------------------------------------


async def _create_key(sight: Sight, ask: Ask, request: k.CreateKey) -> Any:
    sight.reach.require_all("Keys are a matter")
    sight.require_no_more(request.key)
    return await ask(request)


async def _rotate_key(sight: Sight, ask: Ask, request: k.RotateKey) -> Any:
    sight.reach.require_all("Keys are a matter")
    # A key's rights never change, so what is found here holds for the rotation.
    ring: Keyring = await ask(k.Keys())
    for key in ring.keys:
        if key.id == request.key_id:
            sight.require_no_more(key)
    return await ask(request)


async def _as_it_is(_: Sight, ask: Ask, request: r.Note | r.Changes) -> Any:
    # A note completes what the key was allowed; a stream takes one task's changes out of all.
    return await ask(request)


_RULES: Final = MappingProxyType[type, Callable[[Sight, Ask, Any], Awaitable[Any]]](
    {
        r.Add: _add,
        r.AddAll: _add_all,
        r.Get: _get,
        r.Inspect: _inspect,
        **dict.fromkeys((r.Retry, r.Amend, r.RunNow, r.Cancel, r.Delete), _change),
        r.Find: _find,
        r.Count: _count,
        **dict.fromkeys((r.Pause, r.Resume), _of_type),
        r.Series: _series,
        r.Errors: _errors,
        r.Stats: _stats,
        r.ListWorkers: _workers,
        r.Activity: _activity,
        r.PutSchedule: _put_schedule,
        r.GetSchedule: _get_schedule,
        **dict.fromkeys((r.PauseSchedule, r.DeleteSchedule, r.RunSchedule), _change_schedule),
        r.Schedules: _schedules,
        w.PutWebhook: _put_webhook,
        **dict.fromkeys(
            (
                w.GetWebhook,
                w.ListWebhooks,
                w.RotateSecret,
                w.EnableWebhook,
                w.DeleteWebhook,
                w.ReplayWebhook,
                w.SendTest,
            ),
            _webhook,
        ),
        k.CreateKey: _create_key,
        k.RotateKey: _rotate_key,
        **dict.fromkeys((r.Note, r.Changes), _as_it_is),
    }
)
