"""The client's version; apart, so that a build reads it without importing httpx."""

__version__ = "0.1.0"
