"""The client's version; apart, so that a build reads it without importing httpx."""

__version__ = "0.1.0"

USER_AGENT = f"afterwards-client/{__version__}"
"""The product token of its requests (RFC 9110, 10.1.5)."""
