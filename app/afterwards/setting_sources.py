"""The places that settings come from, and the names by which each says them.

`afterwards.settings` says which of the places wins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from pydantic_settings import PydanticBaseSettingsSource

from afterwards.errors import ConfigurationError

PREFIX: Final = "AFTERWARDS_"
ENV_FILE: Final = ".env"

FLAGS: Final[Mapping[str, str]] = {
    "bind": "--bind",
    "workers": "--workers",
    "data_dir": "--data-dir",
    "output_dir": "--output-dir",
    "registry": "--registry",
    "grace_seconds": "--grace",
}
"""The settings that `afterwards serve` takes as flags, too."""

PLAIN_NAMES: Final[Mapping[str, str]] = {
    "bind": "PORT",
    "request_timeout_seconds": "REQUEST_TIMEOUT",
}
"""Names without the prefix that others set, for settings they can decide."""

NOT_SETTINGS: Final = frozenset({"AFTERWARDS_URL"})
"""Names with the prefix that are not the service's: where the command line finds it."""

_ALL_INTERFACES: Final = "0.0.0.0:"


class PlainNames(PydanticBaseSettingsSource):
    """Settings from names that are not ours. The last source, so that our own names win."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """One setting from its plain name; the base class asks for this method."""
        given = variables(self.config.get("env_file"))
        value = given.get(PLAIN_NAMES.get(field_name, ""), "") or None
        if value is not None and field_name == "bind":
            value = _ALL_INTERFACES + value
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(None, name)[0] for name in PLAIN_NAMES}
        return {name: value for name, value in found.items() if value is not None}


def port_of(bind: str) -> str:
    """The value of `PORT`, of which `PlainNames` has made this address."""
    return bind.removeprefix(_ALL_INTERFACES)


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def variables(env_file: object) -> dict[str, str]:
    """The environment over `.env`, without those that are empty; names in upper case.

    Args:
        env_file: the path of `.env`; what is no text: it is not read.
    """
    written = dotenv_values(env_file, encoding="utf-8") if isinstance(env_file, str) else {}
    merged = {**written, **os.environ}
    return {name.upper(): value for name, value in merged.items() if value}


def name_of(field: str, flags: Mapping[str, str], env_file: object) -> str:
    """The name by which a setting was set: its flag, its plain name, or its variable.

    Args:
        flags: the values given on the command line, by field name.
        env_file: as in `variables`.
    """
    if field in flags and field in FLAGS:
        return FLAGS[field]
    given = variables(env_file)
    plain = PLAIN_NAMES.get(field)
    if plain in given and variable(field) not in given:
        return plain
    return variable(field)


def require_readable(env_file: object) -> None:
    """See that `.env` can be read, if it is there, and that paths lead somewhere.

    Raises:
        ConfigurationError: they do not.
    """
    try:
        Path.cwd()
    except OSError as error:
        problem = f"{error.strerror}; change to one that is there, and start again"
        raise ConfigurationError("working directory", problem) from None
    if not isinstance(env_file, str):
        return
    try:
        Path(env_file).read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except UnicodeDecodeError:
        raise ConfigurationError(env_file, "must be text in UTF-8") from None
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; repair it, or take it away"
        raise ConfigurationError(env_file, problem) from None
