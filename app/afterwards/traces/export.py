"""The way of spans out of this process: a bounded queue, a thread, OTLP over HTTP."""

from __future__ import annotations

import logging
import threading
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from afterwards.logs import get_logger
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

_PATH: Final = "/v1/traces"
"""The path at which a collector takes spans (OTLP specification, "OTLP/HTTP request")."""

_SENDING: Final = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")
"""The loggers of what sends, and of the queue before it."""
_READING: Final = "opentelemetry.trace"


class Export:
    """Sends spans in batches. What finds no room in the queue, or cannot be sent, is lost.

    The standard variables `OTEL_BSP_…` and `OTEL_EXPORTER_OTLP_…` say the rest: size of the queue,
    delay, headers, certificates, compression, time limit.

    Args:
        provider: whose spans are sent.
        endpoint: the collector's base URL.
    """

    def __init__(self, provider: TracerProvider, endpoint: str) -> None:
        self._provider = provider
        self._trouble = Trouble(log, "traces cannot be sent; they are lost until they can")
        for name in _SENDING:
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.handlers = [_Complaints(self._trouble)]
        # They complain of what clients send.
        logging.getLogger(_READING).setLevel(logging.CRITICAL)
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + _PATH)
        self._exporter = _Exporter(exporter, self._trouble)
        provider.add_span_processor(BatchSpanProcessor(self._exporter))

    def close(self, seconds: float) -> None:
        """Send what is left, but for at most so long, and not at all if nothing could be sent."""
        if self._trouble.is_on:
            seconds = 0.0
        flushing = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        flushing.start()
        flushing.join(seconds)
        if flushing.is_alive():
            # It ends the waits between tries, too.
            self._exporter.shutdown()


class _Exporter(SpanExporter):
    """An exporter whose success ends a trouble."""

    def __init__(self, exporter: SpanExporter, trouble: Trouble) -> None:
        self._exporter = exporter
        self._trouble = trouble

    def export(self, spans: tuple[ReadableSpan, ...]) -> SpanExportResult:  # type: ignore[override] # the SDK gives a list
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._trouble.over()
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Complaints(logging.Handler):
    """Makes one line of all that is said of spans that are not sent, until some are.

    OpenTelemetry would log each batch, and each try.
    """

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(logging.WARNING)
        self._trouble = trouble

    def emit(self, record: logging.LogRecord) -> None:
        self._trouble.failed(RuntimeError(record.getMessage()))
