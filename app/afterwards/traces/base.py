"""The spans that the service asks for. None are made without `AFTERWARDS_OTLP_ENDPOINT`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Final, Protocol

from afterwards.errors import ConfigurationError
from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import Report

Headers = Iterable[tuple[bytes, bytes]]
"""The headers of a request, their names in lower case."""

_NEEDED: Final = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.semconv")


class AttemptSpan(Protocol):
    """The span of an attempt that runs."""

    trace: str
    """As `afterwards.trace_context` has it: what the attempt's own spans are children of."""

    def end(self, report: Report | None) -> None:
        """The attempt has ended; None: others run its task by now, and no report is sent."""


class SubmissionSpan(Protocol):
    """The span of a submission that is on its way to the disk."""

    trace: str
    """As `Task.trace`."""

    def replayed(self, tasks: Sequence[Task]) -> None:
        """Nothing was accepted: these had been before, under the same key."""


class Traces(Protocol):
    """Makes spans and has them sent. From any thread; nothing here waits but `close`."""

    def submission(
        self, tasks: Sequence[Task], headers: Headers
    ) -> AbstractContextManager[SubmissionSpan]:
        """The span of a submission, until the block ends; what the block raises is its error.

        Log lines carry its ids from here on, as long as the request lasts.

        Args:
            headers: of the request; its `traceparent` and `tracestate` are what the span goes on
                with, if they are valid.
        """

    def attempt(self, claim: Claim) -> AttemptSpan:
        """The span of an attempt that starts now."""

    def close(self, seconds: float) -> None:
        """Send what has not been sent; give it up after so long. Blocks."""


def require_packages(name: str, endpoint: str) -> None:
    """See that traces can be sent, if they are to be.

    Args:
        name: of the setting, as it was set.
        endpoint: the setting; empty: there are no traces.

    Raises:
        ConfigurationError: a package that sends them is not installed.
    """
    if endpoint and not all(map(_is_there, _NEEDED)):
        problem = "needs packages that are not installed: pip install 'afterwards[traces]'"
        raise ConfigurationError(name, problem)


def _is_there(package: str) -> bool:
    return find_spec(package) is not None
