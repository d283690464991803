"""Errors of well-known libraries count as what they are, whether or not the library is there."""

from __future__ import annotations

import smtplib
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from afterwards_executors.passing import is_passing


def made(*names: str, **members: Any) -> BaseException:
    """An error whose classes have these full names, the most specific first."""
    cls: type = Exception
    for name in reversed(names):
        module, _, own = name.rpartition(".")
        cls = type(own, (cls,), {"__module__": module, **members})
    error: BaseException = cls("x")
    return error


REQUEST = httpx.Request("GET", "http://x")


def of_status(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("x", request=REQUEST, response=httpx.Response(status))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        BrokenProcessPool(),
        httpx.ConnectError("x"),
        httpx.ReadTimeout("x"),
        httpx.PoolTimeout("x"),
        httpx.RemoteProtocolError("x"),
        of_status(429),
        of_status(503),
        smtplib.SMTPServerDisconnected("x"),
        smtplib.SMTPDataError(451, b"later"),
        smtplib.SMTPConnectError(421, b"later"),
        smtplib.SMTPRecipientsRefused({"a@b": (450, b""), "c@d": (451, b"")}),
        made("requests.exceptions.ReadTimeout", "requests.exceptions.Timeout"),
        made("requests.exceptions.ConnectionError"),
        made("requests.exceptions.HTTPError", response=SimpleNamespace(status_code=500)),
        made(
            "aiohttp.client_exceptions.ServerDisconnectedError",
            "aiohttp.client_exceptions.ClientConnectionError",
        ),
        made("aiohttp.client_exceptions.ClientResponseError", status=429),
        made("urllib3.exceptions.NewConnectionError", "urllib3.exceptions.TimeoutError"),
        made("urllib3.exceptions.MaxRetryError", reason=TimeoutError()),
        made("urllib3.exceptions.MaxRetryError", reason=made("urllib3.exceptions.ResponseError")),
        made(
            "aiosmtplib.errors.SMTPDataError", "aiosmtplib.errors.SMTPResponseException", code=450
        ),
        made("aiosmtplib.errors.SMTPConnectError"),
        made(
            "aiosmtplib.errors.SMTPRecipientsRefused",
            recipients=[made("aiosmtplib.errors.SMTPResponseException", code=451)],
        ),
        made("redis.exceptions.BusyLoadingError", "redis.exceptions.ConnectionError"),
        made("psycopg.errors.DeadlockDetected", "psycopg.OperationalError"),
        made("psycopg_pool.PoolTimeout", "psycopg.OperationalError"),
        made("botocore.exceptions.EndpointConnectionError", "botocore.exceptions.ConnectionError"),
        made(
            "botocore.exceptions.ClientError",
            response={"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}},
        ),
        made("botocore.exceptions.ClientError", response={"Error": {"Code": "Throttling"}}),
        made("shop.TillIsBusy", "redis.exceptions.TimeoutError"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_does(error: BaseException) -> None:
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        OSError(2, "No such file"),
        of_status(404),
        httpx.UnsupportedProtocol("x"),
        httpx.LocalProtocolError("x"),
        smtplib.SMTPDataError(554, b"never"),
        smtplib.SMTPAuthenticationError(535, b"never"),
        smtplib.SMTPRecipientsRefused({"a@b": (450, b""), "c@d": (550, b"")}),
        smtplib.SMTPRecipientsRefused({}),
        made("requests.exceptions.SSLError", "requests.exceptions.ConnectionError"),
        made("requests.exceptions.HTTPError", response=None),
        made("requests.exceptions.HTTPError", response=SimpleNamespace(status_code=400)),
        made(
            "aiohttp.client_exceptions.ClientSSLError",
            "aiohttp.client_exceptions.ClientConnectionError",
        ),
        made("aiohttp.client_exceptions.ClientResponseError", status=403),
        made("urllib3.exceptions.MaxRetryError", reason=None),
        made("redis.exceptions.AuthenticationError", "redis.exceptions.ConnectionError"),
        made("psycopg.errors.InvalidPassword", "psycopg.OperationalError"),
        made("psycopg.errors.UniqueViolation", "psycopg.IntegrityError"),
        made("botocore.exceptions.ClientError", response={"Error": {"Code": "NoSuchKey"}}),
        made("botocore.exceptions.ClientError", response=None),
        made("elsewhere.TimeoutException"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_will_not_pass_does_not(error: BaseException) -> None:
    assert not is_passing(error)
