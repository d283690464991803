"""Errors that make a run worthless: it says so instead of giving figures."""


class LoadTestError(Exception):
    """The run did not measure what it says; the message says why."""
