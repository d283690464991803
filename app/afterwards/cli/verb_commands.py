"""The verbs for tasks: each is for one task, for several by their ids, or for all that match."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, NamedTuple

from afterwards.cli import remote
from afterwards.cli.arguments import add_common, add_run_at, add_wait, count, payload_of
from afterwards.cli.commands import Command, note, refuse
from afterwards.cli.filters import add_conditions, conditions_of
from afterwards.cli.output import Output
from afterwards.cli.remote import to_the_service
from afterwards.cli.task_commands import accepted, finished
from afterwards_client import CancelOutcome

_MOST_COUNTED: Final = 10_000
"""A dry run counts until there are more, where no index answers."""


class _Verb(NamedTuple):
    """A verb, and how it is done to one task and to many."""

    name: str
    one: Callable[[argparse.Namespace, Output], int]
    many: str
    """The client's method."""
    statuses: Sequence[str]
    """The states that it is for."""


def _retry(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        task = client.retry(
            arguments.ids[0],
            arguments.payload,
            new_type=arguments.new_type,
            run_at=arguments.run_at,
        )
    return finished(arguments, output, task) if arguments.wait else accepted(output, task)


def _cancel(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        cancellation = client.cancel(arguments.ids[0], children=arguments.children)
    output.cancelled(cancellation)
    if cancellation.outcome is CancelOutcome.UNSTOPPABLE:
        return 1
    if cancellation.children is None:
        return 1 if cancellation.outcome is CancelOutcome.FINISHED else 0
    # Most children begin with the success of their parent: that it is finished is no fault then.
    return 1 if cancellation.children.more else 0


def _run(arguments: argparse.Namespace, output: Output) -> int:
    with remote.client(arguments) as client:
        task = client.run(arguments.ids[0])
    return accepted(output, task)


def _delete(arguments: argparse.Namespace, output: Output) -> int:
    (task_id,) = arguments.ids
    with remote.client(arguments) as client:
        client.delete(task_id)
    output.done(task_id, "deleted", {"id": task_id, "deleted": True})
    return 0


_VERBS: Final = (
    _Verb("retry", _retry, "retry_many", ("failed", "cancelled")),
    _Verb("cancel", _cancel, "cancel_many", ("scheduled", "pending", "retrying", "processing")),
    _Verb("run", _run, "run_many", ("scheduled", "retrying")),
    _Verb("delete", _delete, "delete_many", ("success", "failed", "cancelled")),
)


def _carried_out(verb: _Verb) -> Callable[[argparse.Namespace], int]:
    """The command of a verb."""

    def run(arguments: argparse.Namespace, output: Output) -> int:
        problem = _problem(verb, arguments)
        if problem is not None:
            return refuse(problem, 2)
        if len(arguments.ids) == 1 and not arguments.dry_run:
            return verb.one(arguments, output)
        return _many(verb, arguments, output)

    return to_the_service(run)


def _problem(verb: _Verb, arguments: argparse.Namespace) -> str | None:
    """The reason why the arguments do not say what to do; None: they do."""
    chosen = [*conditions_of(arguments), *(["all"] if arguments.all else [])]
    if arguments.ids and chosen:
        return "give ids or conditions, not both"
    if arguments.all and len(chosen) > 1:
        return "give conditions or --all, not both"
    if not (arguments.ids or chosen):
        return (
            f"{verb.name} needs the ids of tasks, conditions such as --type report, or --all; "
            f"afterwards {verb.name} --help lists them"
        )
    if len(arguments.ids) != 1 and (getattr(arguments, "wait", None) or _run_at(arguments)):
        return "--wait and --run-at are for one task"
    if getattr(arguments, "children", False) and (len(arguments.ids) != 1 or arguments.dry_run):
        return (
            "--children is for one task, and without --dry-run; "
            "for the children of a task alone, give --parent"
        )
    return None


def _many(verb: _Verb, arguments: argparse.Namespace, output: Output) -> int:
    """Count, ask, and do it to as many as were counted."""
    changes = {
        name: value
        for name in ("payload", "new_type")
        if (value := getattr(arguments, name, None)) is not None
    }
    with remote.client(arguments) as client:
        act = getattr(client, verb.many)
        if arguments.ids and not arguments.dry_run:
            done = act(ids=arguments.ids, limit=arguments.limit, **changes)
        else:
            chosen = _chosen(verb, arguments)
            done = act(**chosen, limit=_MOST_COUNTED, dry_run=True)
            most = min(done.matched, arguments.limit or done.matched)
            if most and not arguments.dry_run:
                if not arguments.yes and not _agreed(verb, most):
                    return 1
                done = act(**chosen, limit=most, **changes)
            elif not most:
                # There was nothing to ask about: the count is the whole answer.
                done = replace(done, dry_run=arguments.dry_run)
    document = asdict(done)
    output.document(document)
    missed = bool(arguments.ids) and bool(done.skipped)
    return 1 if done.interrupted or missed else 0


def _chosen(verb: _Verb, arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.ids:
        return {"ids": arguments.ids}
    chosen: dict[str, Any] = {**conditions_of(arguments)}
    # The service deletes nothing without a condition; that all are meant was said here.
    if arguments.all and verb.name == "delete":
        chosen["status"] = verb.statuses
    return chosen


def _agreed(verb: _Verb, number: int) -> bool:
    """Ask whether to go on, on a terminal; elsewhere `--yes` has to say so."""
    tasks = "1 task" if number == 1 else f"{number:,} tasks"
    if not sys.stdin.isatty():
        note(f"{tasks} match; to {verb.name} without a question, add --yes. Nothing was changed")
        return False
    sys.stderr.write(f"{verb.name} {tasks}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    note("nothing was changed")
    return False


def _run_at(arguments: argparse.Namespace) -> bool:
    return getattr(arguments, "run_at", None) is not None


def _arguments_of(verb: _Verb) -> Callable[[argparse.ArgumentParser], None]:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("ids", metavar="ID", nargs="*", help="the ids of tasks")
        if verb.name == "cancel":
            parser.add_argument(
                "--children",
                action="store_true",
                help="for one task: also what it has submitted, what that has submitted, and so "
                "on, and the batch that it follows",
            )
        _add_choice(parser, verb.statuses)
        add_common(parser)

    return add


def _add_retry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "ids",
        metavar="ID",
        nargs="*",
        action=_IdsAndPayload,
        help="the ids of tasks; then PAYLOAD, a JSON object that replaces theirs: @FILE reads it "
        "from a file, - from standard input",
    )
    parser.add_argument(
        "--new-type",
        metavar="TYPE",
        help="move them to this task type, which has to take their payloads",
    )
    add_run_at(parser)
    add_wait(parser)
    parser.set_defaults(payload=None)
    _add_choice(parser, ("failed", "cancelled"))
    add_common(parser)


def _add_choice(parser: argparse.ArgumentParser, statuses: Sequence[str]) -> None:
    """Add the options for many tasks."""
    add_conditions(parser, statuses)
    parser.add_argument("--all", action="store_true", help="all tasks that the command applies to")
    parser.add_argument(
        "--limit", metavar="N", type=count, help="at most so many tasks, the newest first"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only count the tasks, change nothing"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask first")


class _IdsAndPayload(argparse.Action):
    """Takes ids, and a payload after them, which no id looks like."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        ids = list(values)
        if ids and (ids[-1] == "-" or ids[-1].startswith(("{", "[", "@"))):
            try:
                namespace.payload = payload_of(ids.pop())
            except argparse.ArgumentTypeError as error:
                raise argparse.ArgumentError(None, f"argument PAYLOAD: {error}") from None
        namespace.ids = ids


_MANY: Final = (
    "Without ids, the command applies to all tasks that meet the conditions, once you have seen "
    "their number and agreed."
)

_DESCRIPTIONS: Final = {
    "retry": "Run failed tasks again, and cancelled ones if --status names them.",
    "cancel": "Cancel tasks. The exit status of one task is 1 if it was finished first, or runs in "
    "a thread and can only be asked to stop. With --children a finished task is no fault.",
    "run": "Make scheduled tasks due now, also those that wait for another attempt.",
    "delete": "Delete finished tasks. They cannot be brought back.",
}

COMMANDS: Final[Mapping[str, Command]] = {
    verb.name: Command(
        f"{_DESCRIPTIONS[verb.name]} {_MANY}",
        _add_retry if verb.name == "retry" else _arguments_of(verb),
        _carried_out(verb),
    )
    for verb in _VERBS
}
