"""The running service: its address, a client for it, and what goes wrong on the way to it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Final

import httpx

from afterwards.cli.commands import refuse
from afterwards.cli.output import Output, output_for
from afterwards_client import (
    DEFAULT_URL,
    AfterwardsClientError,
    Client,
    ConnectionFailed,
    InvalidArgument,
    Retries,
)
from afterwards_client.urls import without_all_before_at

URL_VARIABLE: Final = "AFTERWARDS_URL"
KEY_VARIABLE: Final = "AFTERWARDS_TOKEN"
"""Not a flag, which other users of the machine could read."""

_BROKEN_PIPE: Final = 141
"""As a shell shows the death by SIGPIPE."""

IMPATIENT: Final = Retries(total_seconds=2.0)
"""Somebody waits: a service that is not there is said soon."""

PATIENT: Final = Retries(total_seconds=60.0)
"""It was there a moment ago, so it is being started again."""

Run = Callable[[argparse.Namespace, Output], int]


def client(arguments: argparse.Namespace, retries: Retries = IMPATIENT) -> Client:
    """A client of the service that the arguments or the environment name."""
    return Client(url(arguments), token=os.environ.get(KEY_VARIABLE) or None, retries=retries)


def url(arguments: argparse.Namespace) -> str:
    """The address of the service."""
    found: str = arguments.url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    return found


def to_the_service(run: Run) -> Callable[[argparse.Namespace], int]:
    """The command with whatever goes wrong as one line and an exit status."""

    def command(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments, output_for(arguments.json))
        except ConnectionFailed as error:
            hint = (
                f"start it with afterwards serve, or say with --url or {URL_VARIABLE} where it is"
            )
            return refuse(f"{error}; {hint}", 1)
        except AfterwardsClientError as error:
            return refuse(error, 2 if isinstance(error, InvalidArgument) else 1)
        except httpx.InvalidURL as error:
            shown = without_all_before_at(url(arguments))
            return refuse(f"{error}: {shown!r}; one that can be used is {DEFAULT_URL}", 2)
        except BrokenPipeError:
            # Whoever read has enough, as `head` does.
            return _BROKEN_PIPE
        except OSError as error:
            return refuse(f"cannot write the output: {error}", 1)

    return command
