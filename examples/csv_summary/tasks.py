"""The task type `csv-summary`: how many rows a CSV file has, and what is in its columns."""

from __future__ import annotations

import csv
import io
import math
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any, Final

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field

from afterwards import Cancelled, PermanentError, RetryPolicy, TaskContext, TaskType, TransientError

_CHUNK_BYTES: Final = 64 * 1024
_SILENCE_SECONDS: Final = 10.0


class Source(BaseModel):
    """Which file is summarised."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://example.org/prices.csv"}]}
    )

    url: AnyHttpUrl
    max_bytes: int = Field(10_000_000, ge=1, le=100_000_000)


def summarise(payload: Source, context: TaskContext) -> dict[str, Any]:
    """Fetch, count, and say how it goes. Changes nothing, so it may run twice."""
    text = _decode(_fetch(payload, context))
    context.progress(0.9, "counting")
    summary = summarise_text(text)
    context.logger.info("summarised", rows=summary["rows"])
    return summary


def _fetch(payload: Source, context: TaskContext) -> bytes:
    body = bytearray()
    try:
        # The payload's model lets http and https pass, and nothing else.
        with urllib.request.urlopen(str(payload.url), timeout=_SILENCE_SECONDS) as answer:  # noqa: S310 - see above
            expected = int(answer.headers.get("Content-Length") or payload.max_bytes)
            while chunk := answer.read(_CHUNK_BYTES):
                body += chunk
                if len(body) > payload.max_bytes:
                    raise PermanentError(f"{payload.url} has more than {payload.max_bytes} bytes")
                # A thread cannot be stopped from outside; it has to look.
                if context.cancelled:
                    raise Cancelled
                context.progress(0.9 * min(1.0, len(body) / max(1, expected)), "fetching")
    except urllib.error.HTTPError as error:
        error.close()
        # 429 and 5xx pass; that there is no such file will be true the next time, too.
        kind = TransientError if error.code == 429 or error.code >= 500 else PermanentError
        raise kind(f"{payload.url} answered {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise TransientError(f"{payload.url} cannot be reached: {error}") from error
    return bytes(body)


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PermanentError("the file is not text in UTF-8") from None


def summarise_text(text: str) -> dict[str, Any]:
    """The summary of a CSV file whose first line has the names of its columns.

    Raises:
        PermanentError: it is none.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = next(reader, [])
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise PermanentError(f"line {reader.line_num} is no CSV: {error}") from error
    if not names:
        raise PermanentError("the file is empty")
    columns = {
        name: _column([row[at] for row in rows if at < len(row)]) for at, name in enumerate(names)
    }
    return {"rows": len(rows), "columns": columns}


def _column(values: list[str]) -> dict[str, Any]:
    numbers = [number for value in values if (number := _number(value)) is not None]
    if values and len(numbers) == len(values):
        mean = math.fsum(numbers) / len(numbers)
        return {"min": min(numbers), "max": max(numbers), "mean": mean}
    return {"distinct": len(set(values))}


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    # "nan" is a number to Python and none to JSON.
    return number if math.isfinite(number) else None


CSV_SUMMARY: Final = TaskType(
    "csv-summary",
    Source,
    summarise,
    executor="thread",
    retry=RetryPolicy(max_attempts=5),
    timeout=120,
    max_concurrency=4,
)
