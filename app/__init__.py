"""The background-task service: HTTP API, registry and dispatch. Begin at `app.lifecycle`."""

__version__ = "0.1.0"
