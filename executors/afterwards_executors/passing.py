"""Errors of well-known libraries that may pass, known by name: none of them is imported.

A library's error is looked up by its classes' modules and names, the most specific first; what it
says of a status decides where one class stands for several. Names of a module's are written as the
module that defines them has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = range(500, 600)
_SMTP_PASSING: Final = range(400, 500)
"""Replies that mean "not now" (RFC 5321, 4.2.1)."""

_THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""The error codes that AWS uses for 429, mostly with another status."""

Judge = Callable[[Any], bool]


def _http_passes(status: object) -> bool:
    return isinstance(status, int) and (status == _TOO_MANY_REQUESTS or status in _SERVER_ERRORS)


def _by_response(error: Any) -> bool:
    return _http_passes(getattr(getattr(error, "response", None), "status_code", None))


def _by_own_status(error: Any) -> bool:
    return _http_passes(getattr(error, "status", None))


def _by_aws_response(error: Any) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return _http_passes(status) or error.response.get("Error", {}).get("Code") in _THROTTLED


def _by_smtp_code(error: Any) -> bool:
    code = getattr(error, "smtp_code", getattr(error, "code", None))
    return code in _SMTP_PASSING


def _by_smtp_recipients(error: Any) -> bool:
    # smtplib has the replies by address, aiosmtplib one error each.
    found = error.recipients
    if isinstance(found, Mapping):
        return bool(found) and all(code in _SMTP_PASSING for code, _ in found.values())
    return bool(found) and all(map(_by_smtp_code, found))


def _by_reason(error: Any) -> bool:
    reason = getattr(error, "reason", None)
    # "too many 503 error responses" is what its retries have ended with.
    return isinstance(reason, BaseException) and (is_passing(reason) or _is_too_many(reason))


def _is_too_many(reason: BaseException) -> bool:
    return any(_name(cls) == "urllib3.exceptions.ResponseError" for cls in type(reason).__mro__)


def _always(_error: Any) -> bool:
    return True


def _never(_error: Any) -> bool:
    return False


def _table(judge: Judge, module: str, names: str) -> dict[str, Judge]:
    return {f"{module}.{name}": judge for name in names.split()}


JUDGES: Final[Mapping[str, Judge]] = MappingProxyType(
    {
        **_table(_always, "httpx", "TimeoutException NetworkError ProxyError RemoteProtocolError"),
        **_table(_by_response, "httpx", "HTTPStatusError"),
        **_table(_always, "requests.exceptions", "ConnectionError Timeout ChunkedEncodingError"),
        **_table(_never, "requests.exceptions", "SSLError"),
        **_table(_by_response, "requests.exceptions", "HTTPError"),
        **_table(_always, "aiohttp.client_exceptions", "ClientConnectionError ClientPayloadError"),
        **_table(_never, "aiohttp.client_exceptions", "ClientSSLError"),
        **_table(_by_own_status, "aiohttp.client_exceptions", "ClientResponseError"),
        **_table(
            _always, "urllib3.exceptions", "TimeoutError ProtocolError ProxyError IncompleteRead"
        ),
        **_table(_by_reason, "urllib3.exceptions", "MaxRetryError"),
        **_table(_always, "smtplib", "SMTPServerDisconnected"),
        **_table(_by_smtp_code, "smtplib", "SMTPResponseException"),
        **_table(_by_smtp_recipients, "smtplib", "SMTPRecipientsRefused"),
        **_table(
            _always, "aiosmtplib.errors", "SMTPServerDisconnected SMTPConnectError SMTPTimeoutError"
        ),
        **_table(_by_smtp_code, "aiosmtplib.errors", "SMTPResponseException"),
        **_table(_by_smtp_recipients, "aiosmtplib.errors", "SMTPRecipientsRefused"),
        **_table(
            _always,
            "redis.exceptions",
            "ConnectionError TimeoutError TryAgainError ClusterDownError",
        ),
        **_table(_never, "redis.exceptions", "AuthenticationError AuthorizationError"),
        **_table(_always, "psycopg", "OperationalError"),
        **_table(_never, "psycopg.errors", "InvalidAuthorizationSpecification InvalidPassword"),
        **_table(_always, "botocore.exceptions", "ConnectionError HTTPClientError"),
        **_table(_never, "botocore.exceptions", "SSLError"),
        **_table(_by_aws_response, "botocore.exceptions", "ClientError"),
        **_table(_always, "builtins", "ConnectionError TimeoutError"),
        **_table(_always, "concurrent.futures._base", "BrokenExecutor"),
    }
)
"""By the full name of a class, who says whether its errors may pass."""


def is_passing(error: BaseException) -> bool:
    """True for a broken connection, a limit that ran out, or a server that says "not now".

    Never raises, whatever the error has become in its library.
    """
    for cls in type(error).__mro__:
        judge = JUDGES.get(_name(cls))
        if judge is not None:
            try:
                return judge(error)
            except Exception:  # noqa: BLE001 - another version of the library, with other members
                return False
    return False


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
