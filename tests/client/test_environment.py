"""Proxies and certificates in the environment, and wrong values of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from afterwards.cli import main
from afterwards_client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    Retries,
    WrongEnvironment,
    environment,
)

HTTP = "http://service.example"
HTTPS = "https://service.example"
PROXY = "http://jo:s3cret@proxy.example:3128"

NO_PROXIES = [
    "nonsense://jo:s3cret@x:1",
    "socks://jo:s3cret@x:1",
    "http://jo:s3cret@x:port",
    "http://jo:s3/cret@x",
    "http://jo:s3cret@x:99999",
    "http://jo:s3cret@a..b",
    f"http://jo:s3cret@{'a' * 64}.example",
    "http://jo:s3cret@xn--",
    "jo:s3cret@",
    "http://",
    "[::1",
    "\udcff",
    # This needs a package that is not installed.
    "socks5://jo:s3cret@x:1",
    "socks5h://x:1",
]


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.lower().startswith(("ssl_cert", "sslkeylog")):
            monkeypatch.delenv(name)


@pytest.fixture(params=["Client", "AsyncClient", "command"])
def refused(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """The message to a user who wants to reach this URL, by whichever way."""

    def told(url: str) -> str:
        if request.param == "command":
            assert main(["status", "x", "--url", url]) == 1
            (line,) = capsys.readouterr().err.splitlines()
            return line.removeprefix("afterwards: ")
        with pytest.raises(WrongEnvironment) as caught:
            {"Client": Client, "AsyncClient": AsyncClient}[request.param](url)
        (name,) = caught.value.variables
        assert name in str(caught.value)
        assert caught.value.__context__ is None
        return str(caught.value)

    return told


@pytest.mark.parametrize("value", NO_PROXIES)
@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
)
def test_a_proxy_that_cannot_be_used_is_one_line_without_its_password(
    refused: Callable[[str], str], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    line = refused(HTTPS if "https" in name.lower() else HTTP)
    assert line.startswith(f"{name} cannot be used: ")
    assert "\n" not in line
    assert "cret" not in line
    if value.startswith("socks5"):
        assert "httpx[socks]" in line


@pytest.mark.parametrize(
    "value", ["[::1", "1.2.3.4]", "host:port", "jo:s3cret@h:x", "\udcff", "xn--"]
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_an_exception_that_is_none_is_named(
    refused: Callable[[str], str], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"good.example, {value}")
    line = refused(HTTP)
    assert line.startswith(f"{name} cannot be used: ")
    assert "cret" not in line


@pytest.mark.parametrize("url", [HTTP, HTTPS, "http://127.0.0.1:1"])
@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_certificates_is_named(
    refused: Callable[[str], str],
    content: str | None,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "certificates.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    problem = "cannot be read: No such file" if content is None else "has no certificate"
    assert f"SSL_CERT_FILE cannot be used: {str(path)!r} {problem}" in refused(url)


def test_a_directory_is_no_file_of_certificates(
    refused: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path))
    assert refused(HTTPS).startswith("SSL_CERT_FILE cannot be used: ")


def test_a_directory_of_certificates_that_is_missing_is_named(
    refused: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere/at/all")
    assert refused(HTTPS) == "SSL_CERT_DIR cannot be used: '/nowhere/at/all' is no directory"


@pytest.mark.parametrize("certificates", ["", "/nowhere/at/all"])
def test_a_file_for_keys_that_cannot_be_written_is_named(
    refused: Callable[[str], str],
    certificates: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates)
    for path, problem in ((tmp_path / "no" / "x", "No such file"), (tmp_path, "Is a directory")):
        monkeypatch.setenv("SSLKEYLOGFILE", str(path))
        said = f"SSLKEYLOGFILE cannot be used: {str(path)!r} cannot be written: {problem}"
        assert refused(HTTPS).startswith(said)


def test_keys_are_logged_to_a_file_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert environment.certificates().keylog_filename == str(tmp_path / "keys")


def test_what_nobody_reads_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # OpenSSL knows these in capitals only, and the file goes before the directory.
    monkeypatch.setenv("ssl_cert_file", "/nowhere/at/all")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with Client(HTTPS):
        pass
    # Of proxies, small letters go first, even if they say nothing.
    monkeypatch.setenv("HTTP_PROXY", "nonsense://")
    monkeypatch.setenv("http_proxy", "")
    with Client(HTTP):
        pass


def test_the_faulty_one_of_many_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("https_proxy", "http://x:port")
    with pytest.raises(WrongEnvironment) as caught:
        Client(HTTP)
    assert caught.value.variables == ("https_proxy",)


def test_a_socks_proxy_that_another_url_would_take_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("ALL_PROXY", "socks5://x:1")
    with Client(HTTP):
        pass


@pytest.mark.parametrize("value", NO_PROXIES)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "127.8.8.8",
        "[::1]:8000",
        "localhost",
        "a.localhost",
        "0.0.0.0",
        "[::ffff:127.0.0.1]:8000",
        "[::ffff:7f00:1]",
        "127.1:8000",
        "2130706433",
        "0x7f.1",
        "0177.1",
        "0",
    ],
)
def test_this_machine_is_reached_directly_whatever_they_say(
    host: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert environment.proxy_for(httpx.URL(f"https://{host}")) is None


def test_an_asterisk_excepts_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://x")
    monkeypatch.setenv("NO_PROXY", "other.example, *")
    with Client(HTTP), Client(HTTPS):
        pass


@pytest.mark.parametrize(
    ("entry", "direct", "by_proxy"),
    [
        ("example", ["http://example", "https://a.b.example:9"], ["http://anexample"]),
        ("a.example", ["http://a.example"], ["http://example"]),
        (".example", ["http://a.example"], ["http://example"]),
        ("*.example", ["http://a.example"], ["http://example"]),
        ("EXAMPLE", ["http://a.example"], []),
        ("example:81", ["http://example:81"], ["http://example", "http://example:82"]),
        ("http://a.example", ["http://a.example"], ["https://a.example", "http://b.a.example"]),
        ("http://", ["http://a.example"], ["https://a.example"]),
        ("10.1.2.3", ["http://10.1.2.3:5"], ["http://10.1.2.4"]),
        ("10.1.0.0/16", ["http://10.1.2.3"], ["http://10.2.2.3", "http://a.example"]),
        ("fd00::1", ["http://[fd00::1]:5"], ["http://[fd00::2]"]),
        ("[fd00::1]", ["http://[fd00::1]:5"], ["http://[fd00::2]"]),
        ("fd00::/8", ["http://[fd00::1]"], ["http://[fe00::1]", "http://10.1.2.3"]),
        ("10.0.0.0/8", ["http://10.1", "http://[::ffff:10.1.2.3]"], ["http://11.1"]),
        ("::ffff:10.1.2.3", ["http://[::ffff:10.1.2.3]", "http://10.1.2.3"], ["http://10.1.2.4"]),
        ("::ffff:10.0.0.0/104", ["http://10.1.2.3"], ["http://[::ffff:11.1.2.3]"]),
        (", ,", [], ["http://a.example"]),
    ],
)
def test_an_exception_is_a_host_a_domain_or_a_network(
    entry: str, direct: list[str], by_proxy: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", PROXY)
    monkeypatch.setenv("no_proxy", f"other.example,{entry}")
    assert [url for url in direct if environment.proxy_for(httpx.URL(url))] == []
    assert [url for url in by_proxy if not environment.proxy_for(httpx.URL(url))] == []


@pytest.mark.parametrize(
    ("url", "proxy"), [(HTTP, "plain"), (HTTPS, "secure"), ("http://a.example", "plain")]
)
def test_a_proxy_is_chosen_by_the_scheme_of_the_url(
    url: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "plain:3128")
    monkeypatch.setenv("HTTPS_PROXY", "https://secure:3128")
    monkeypatch.setenv("ALL_PROXY", "http://all:3128")
    found = environment.proxy_for(httpx.URL(url))
    assert found is not None
    assert found.url.host == proxy


def test_a_password_of_a_socks_proxy_is_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ALL_PROXY", "socks5://jo:s3cret@x:1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert environment.proxy_for(httpx.URL(HTTP)) is not None
    # As httpcore says it.
    said = "setup_socks5_connection.started stream=<x> host='h' port=1 auth=(b'jo', b's3cret')"
    logging.getLogger("httpcore.socks").debug(said)
    assert caplog.messages[-1] == said.replace("(b'jo', b's3cret')", "[secure]")


@pytest.mark.parametrize("url", [HTTP, "http://user:s3cret@service.example"])
def test_no_password_is_shown_when_a_proxy_does_not_answer(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Nobody listens there.
    monkeypatch.setenv("HTTP_PROXY", "http://jo:s3cret@127.0.0.1:1")
    caplog.set_level(logging.DEBUG)
    with Client(url, retries=Retries(total_seconds=0)) as client:
        with pytest.raises(ConnectionFailed) as caught:
            client.get("x")
        shown: list[Any] = [str(caught.value), repr(vars(caught.value)), caplog.text]
        shown += [repr(client), repr(vars(client)), repr(vars(client._http))]
    assert not [text for text in shown if "s3cret" in text or "czNjcmV0" in text]
