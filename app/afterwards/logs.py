"""Structured logging: one line an event, on stderr, for everything that runs in this process.

Lines are JSON unless stderr is a terminal; stdout is left to what a command answers. A line about a
task carries `task_id`, `type` and `attempt`; one written during a request carries `request_id`,
from structlog's context variables. What libraries log through `logging` (gunicorn, uvicorn,
asyncio) is rendered the same way.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
from typing import Final, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["auto", "json", "console"]

_FOREIGN: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "gunicorn.error")
"""Loggers whose libraries give them handlers of their own."""


def configure(
    level: str = "info",
    format: str = "auto",  # noqa: A002 - the setting's word
    stream: TextIO | None = None,
) -> None:
    """Set up logging for this process; the last call wins.

    Call it before the first line is logged: a logger remembers what it was given at its first use.

    Args:
        level: a `LogLevel`; lines below it cost next to nothing.
        format: a `LogFormat`; `auto` is `console` on a terminal and `json` elsewhere.
        stream: where lines go; None: stderr.
    """
    stream = sys.stderr if stream is None else stream
    number = logging.getLevelNamesMapping()[level.upper()]
    console = format == "console" or (format == "auto" and stream.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *_shared(),
            *_rendering(console, colors=stream.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", LossyStream(stream))),
        cache_logger_on_first_use=True,
    )
    _debug_lines.drop(number > logging.DEBUG)
    # Its complaints about a line that cannot be written could not be written, either.
    logging.raiseExceptions = False
    if stream is sys.stderr:
        atexit.register(flush_or_discard, stream)
    _take_over_stdlib(number, console, stream)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `logger_name`."""
    logger: FilteringBoundLogger = structlog.get_logger(logger_name=name)
    _debug_lines.add(logger)
    return logger


class _DebugLines:
    """Has loggers drop `debug` lines that are below the level.

    By themselves they are proxies that make a logger for each line, written or not: 1.4 us, and a
    task has three such lines.
    """

    def __init__(self) -> None:
        self._loggers: list[FilteringBoundLogger] = []
        self._dropped = False

    def add(self, logger: FilteringBoundLogger) -> None:
        self._loggers.append(logger)
        self._set(logger)

    def drop(self, dropped: bool) -> None:
        self._dropped = dropped
        for logger in self._loggers:
            self._set(logger)

    def _set(self, logger: FilteringBoundLogger) -> None:
        if self._dropped:
            vars(logger)["debug"] = _drop
        else:
            vars(logger).pop("debug", None)


def _drop(_event: str, **_fields: object) -> None:
    pass


_debug_lines: Final = _DebugLines()


class LossyStream:
    """A stream whose lines are lost where they cannot be written: writing never raises.

    The log's reader may have gone, or its disk be full. That must not end the work that the
    line is about.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or not."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or not."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def flush_or_discard(stream: TextIO) -> None:
    """Write what the stream still holds; if that cannot be, turn it to /dev/null for good.

    For the end of a process: the interpreter flushes stdout and stderr once more, and where that
    fails it exits with status 120, whatever the status was to be. A closed stream holds nothing.
    """
    if stream.closed:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def _shared() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _rendering(console: bool, *, colors: bool) -> list[Processor]:
    if console:
        return [
            structlog.dev.ConsoleRenderer(
                colors=colors,
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    return [
        structlog.processors.format_exc_info,
        # A value that JSON does not know must not cost the line it is in.
        structlog.processors.JSONRenderer(default=repr, ensure_ascii=False),
    ]


def _take_over_stdlib(level: int, console: bool, stream: TextIO) -> None:
    """Send what libraries log through the same rendering."""
    handler = logging.StreamHandler(LossyStream(stream))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                _foreign_logger_name,
                *_shared(),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_colour,
                *_rendering(console, colors=stream.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries' debug lines are theirs to debug: asyncio and httptools would drown ours.
    root.setLevel(max(level, logging.INFO))
    logging.captureWarnings(capture=True)
    for name in _FOREIGN:
        foreign = logging.getLogger(name)
        foreign.handlers = []
        foreign.propagate = name != "uvicorn.access"


def _foreign_logger_name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["logger_name"] = event["_record"].name
    return event


def _without_colour(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # uvicorn sends each message twice, the second time with escape sequences.
    event.pop("color_message", None)
    return event
