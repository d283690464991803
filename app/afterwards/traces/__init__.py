"""Traces of OpenTelemetry: a span for each submission, and one for each attempt."""
