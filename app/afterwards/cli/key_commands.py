"""`afterwards keys`: who may use the service, decided on its machine."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from afterwards.access.key import LONGEST_NAME, Key
from afterwards.access.roles import Grant, Role
from afterwards.access.tokens import new_token
from afterwards.cli.commands import Command, note
from afterwards.errors import ConfigurationError
from afterwards.labels import MAX_LABELS, pair_of
from afterwards.logs import configure
from afterwards.setting_sources import FLAGS, variable
from afterwards.settings import Settings

_DAY: Final = 86_400.0


def _create(arguments: argparse.Namespace) -> int:
    from afterwards.server import keys  # noqa: PLC0415 - the help does not need it

    token, now = new_token(), time.time()
    settings = _settings(arguments)
    key = keys.create(
        settings.data_dir,
        Key(
            id=token.id,
            name=arguments.name,
            principal=arguments.principal or arguments.name,
            role=None if arguments.role is None else Role(arguments.role),
            grants=frozenset(map(Grant, arguments.grant or ())),
            types=None if arguments.type is None else frozenset(arguments.type),
            labels=_labels(arguments.label),
            payloads=arguments.payloads,
            created_at=now,
            expires_at=None if arguments.days is None else now + arguments.days * _DAY,
            digest=token.digest,
        ),
        settings.journal_keys(),
    )
    return _shown_once(settings, key, token.text)


def _rotate(arguments: argparse.Namespace) -> int:
    from afterwards.server import keys  # noqa: PLC0415 - as above

    token = new_token()
    settings = _settings(arguments)
    key = keys.rotate(
        settings.data_dir,
        arguments.id,
        (token.id, token.digest),
        arguments.overlap,
        settings.journal_keys(),
    )
    return _shown_once(settings, key, token.text)


def _revoke(arguments: argparse.Namespace) -> int:
    from afterwards.server import keys  # noqa: PLC0415 - as above

    settings = _settings(arguments)
    keys.revoke(settings.data_dir, arguments.id, settings.journal_keys())
    _say_if_unserved(settings)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from afterwards.server import keys  # noqa: PLC0415 - as above

    settings, now = _settings(arguments), time.time()
    ring = keys.all_keys(settings.data_dir, settings.journal_keys())
    for key in sorted(ring.keys, key=lambda key: key.created_at):
        _say("\t".join(_fields(key, now)))
    note("keys are required" if ring.required else "keys are not required")
    _say_if_unserved(settings)
    return 0


def _turn_off(arguments: argparse.Namespace) -> int:
    from afterwards.server import keys  # noqa: PLC0415 - as above

    settings = _settings(arguments)
    keys.turn_off(settings.data_dir, settings.journal_keys())
    note("all keys are revoked, and everybody who reaches the service may do everything")
    _say_if_unserved(settings)
    return 0


def _draw(_: argparse.Namespace) -> int:
    _say(new_token().text)
    return 0


def _labels(pairs: Sequence[tuple[str, str]] | None) -> dict[str, str] | None:
    if pairs is None:
        return None
    labels = dict(pairs)
    if len(labels) > MAX_LABELS:
        problem = f"may be given for {MAX_LABELS} labels at most (got {len(labels)})"
        raise ConfigurationError("--label", problem)
    return labels


def _shown_once(settings: Settings, key: Key, token: str) -> int:
    """The token alone on standard output, so that a script can store it."""
    _say(token)
    note(f"key {key.id} ({key.name}); its token is shown this once, and keys are required")
    _say_if_unserved(settings)
    return 0


def _say_if_unserved(settings: Settings) -> None:
    """A service that runs elsewhere, in another directory, does not know what was done here."""
    from afterwards.server import keys  # noqa: PLC0415 - as above

    if not keys.is_served(settings.data_dir):
        note(
            f"no service runs on {settings.data_dir.absolute()} now; "
            f"{FLAGS['data_dir']} names another data directory"
        )


def _fields(key: Key, now: float) -> list[str]:
    state = "valid" if key.is_valid(now) else "expired" if key.revoked_at is None else "revoked"
    rights = key.role or ",".join(sorted(key.grants)) or "-"
    times = _day(key.expires_at), _day(key.last_used_at)
    return [key.id, key.name, rights, state, *times, _reach(key)]


def _reach(key: Key) -> str:
    """The task types and labels of the tasks that a key reaches, and if it sees their payloads."""
    types = "all types" if key.types is None else ",".join(sorted(key.types))
    labels = [f"{name}={value}" for name, value in sorted((key.labels or {}).items())]
    return " ".join([types, *labels, *(["payloads"] if key.payloads else [])])


def _day(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="minutes")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = Settings.load(data_dir=arguments.data_dir)
    if settings.registry != "manager":
        problem = (
            "keys are made here in the journal alone; the first of a registry elsewhere is from "
            "AFTERWARDS_FIRST_KEY_FILE, and others are made with it over HTTP"
        )
        raise ConfigurationError(settings.name_of("registry"), problem)
    # Standard output is the token's.
    configure("warning", settings.log_format)
    return settings


# -- arguments ---------------------------------------------------------------------------------


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", type=_name, help="the name of its holder")
    rights = parser.add_mutually_exclusive_group(required=True)
    rights.add_argument("--role", choices=[role.value for role in Role if role is not Role.PUBLIC])
    rights.add_argument(
        "--grant",
        action="append",
        choices=[grant.value for grant in Grant],
        help="a single right, in the place of a role; may be given twice",
    )
    parser.add_argument("--payloads", action="store_true", help="let it see payloads and results")
    parser.add_argument(
        "--principal", metavar="NAME", type=_name, help="the owner of its tasks (default NAME)"
    )
    parser.add_argument(
        "--type",
        metavar="TYPE",
        action="append",
        type=_name,
        help="a task type that it reaches (default all)",
    )
    parser.add_argument(
        "--label",
        metavar="KEY=VALUE",
        action="append",
        type=_pair,
        help="a label of all tasks that it reaches",
    )
    parser.add_argument("--days", metavar="N", type=_number, help="its validity (default no end)")


def _id_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the key's id, as `afterwards keys list` says")


def _rotate_arguments(parser: argparse.ArgumentParser) -> None:
    _id_argument(parser)
    parser.add_argument(
        "--overlap",
        metavar="SECONDS",
        type=_number,
        default=_DAY,
        help="time for which the old key stays valid (default one day)",
    )


def _no_arguments(_: argparse.ArgumentParser) -> None:
    """There are none."""


def _name(text: str) -> str:
    if not (1 <= len(text) <= LONGEST_NAME and text.isprintable()):
        problem = f"must have 1 to {LONGEST_NAME} printable characters (got {text!r})"
        raise argparse.ArgumentTypeError(problem)
    return text


def _pair(text: str) -> tuple[str, str]:
    try:
        return pair_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise argparse.ArgumentTypeError(f"must be a number from 0 on (got {text!r})")
    return number


_Verb = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
VERBS: Final[Mapping[str, _Verb]] = {
    "create": ("make a key and print its token", _create_arguments, _create),
    "list": ("list the keys: id, name, rights, state, end, last use, reach", _no_arguments, _list),
    "rotate": ("make a second key in the place of one", _rotate_arguments, _rotate),
    "revoke": ("end a key for good", _id_argument, _revoke),
    "off": ("revoke all keys, and require none", _no_arguments, _turn_off),
    "token": ("print a token for AFTERWARDS_FIRST_KEY_FILE; makes no key", _no_arguments, _draw),
}


def _arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    default = Settings.model_fields["data_dir"].default
    for name, (text, add_arguments, _) in VERBS.items():
        one = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        add_arguments(one)
        one.add_argument(
            FLAGS["data_dir"],
            dest="data_dir",
            metavar="DIRECTORY",
            help=f"the service's data directory ({variable('data_dir')}; default {default})",
        )


def _run(arguments: argparse.Namespace) -> int:
    return VERBS[arguments.verb][2](arguments)


COMMANDS: Final[Mapping[str, Command]] = {
    "keys": Command(
        "Make and end keys on the service's machine, whether it runs or not. No token is needed: "
        "a user who may write the data directory decides who may use the service.",
        _arguments,
        _run,
    )
}
