"""Scenarios that a fake service and a real one have to answer alike.

A scenario does something with a client, call by call, and sees what comes of each. Ids become
numbers in the order in which they are seen, times become `<time>`, and what only a real attempt
has (its worker, its durations) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import datetime
from typing import Any

from afterwards_client import AfterwardsClientError, ApiError, TaskFailed

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")
_OF_ATTEMPTS = frozenset({"worker", "run_seconds", "wait_seconds", "cpu_seconds", "span_id"})
_OF_PROCESSES = frozenset({"peak_memory_bytes", "executor", "payload_schema", "timeout_seconds"})
_MADE_UP = frozenset({"url", "next_runs", "secret", "secrets", "scan", "trace_id", "trace_link"})
_LEFT_OUT = _OF_ATTEMPTS | _OF_PROCESSES | _MADE_UP


class Seen:
    """The outcomes of calls, in a form that can be compared."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, Any]] = []
        self._ids: dict[str, str] = {}

    def __call__(self, what: str, call: Callable[[], Any]) -> Any:
        """Do it, and note what comes of it; gives the result, or None after an error."""
        try:
            found = call()
            if isinstance(found, Iterator):
                found = list(found)
        except AfterwardsClientError as error:
            self.outcomes.append((what, self._error(error)))
            return None
        self.outcomes.append((what, self._plain(found)))
        return found

    def note(self, what: str, value: Any) -> None:
        """Note a value."""
        self.outcomes.append((what, self._plain(value)))

    def _error(self, error: AfterwardsClientError) -> dict[str, Any]:
        told: dict[str, Any] = {"error": type(error).__name__}
        if isinstance(error, TaskFailed):
            told["task"] = self._plain(error.task)
        elif isinstance(error, ApiError):
            told["status"] = int(error.status)
            told["task_id"] = self._text(error.task_id)
            # The words for a wrong member are pydantic's.
            told["wrong"] = [(one.location, one.pointer) for one in error.errors]
            if not error.errors:
                told["detail"] = self._text(error.detail)
        return told

    def _plain(self, value: Any) -> Any:
        document = getattr(value, "document", None)
        if isinstance(document, Mapping):
            return self._plain(document)
        if is_dataclass(value) and not isinstance(value, type):
            value = vars(value)
        if isinstance(value, Mapping):
            return {
                name: "<left out>" if name in _LEFT_OUT else self._plain(one)
                for name, one in sorted(value.items())
            }
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, datetime):
            return "<time>"
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [self._plain(one) for one in value]
        return value

    def _text(self, text: str) -> str:
        if _TIME.fullmatch(text):
            return "<time>"
        return _ID.sub(lambda found: self._ids.setdefault(found[0], f"#{len(self._ids)}"), text)


def differences(fake: Any, service: Any, at: str = "") -> list[str]:
    """The places where two outcomes differ, each in a line."""
    if isinstance(fake, dict) and isinstance(service, dict):
        return [
            line
            for name in sorted({*fake, *service})
            for line in differences(
                fake.get(name, "<missing>"), service.get(name, "<missing>"), f"{at}.{name}"
            )
        ]
    are_lists = isinstance(fake, list | tuple) and isinstance(service, list | tuple)
    if are_lists and len(fake) == len(service):
        return [
            line
            for index, pair in enumerate(zip(fake, service, strict=True))
            for line in differences(*pair, f"{at}[{index}]")
        ]
    return [] if fake == service else [f"{at}: the fake has {fake!r}, the service {service!r}"]
