"""URLs that can be reached and that cannot, and how they are shown."""

from __future__ import annotations

import httpx
import pytest

from afterwards.cli import main
from afterwards_client import AsyncClient, Client, urls

NO_URLS = [
    "nonsense",
    "",
    "ftp://x",
    "http://",
    "http://:8000",
    "http://a:b",
    "http://a:0",
    "http://a:99999",
    "http://[::1",
    "http://a..b",
    "http://a b",
    "http://a]",
    f"http://{'a' * 64}.example",
    "jo:s3cret@host:80",
    "http://jo:s3/cret@host",
    "http://jo:s3cret@host:port",
    "ftp://jo:s3cret@host",
    "http://xn--",
    "http://xn--\N{LATIN SMALL LETTER U WITH DIAERESIS}",
    "http://service?q=1",
    "http://service/below?",
    "http://service#f",
    "http://jo:12#cret@service",
]


@pytest.mark.parametrize("url", NO_URLS)
@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_what_nobody_can_connect_to_is_refused_without_its_password(cls: type, url: str) -> None:
    with pytest.raises(httpx.InvalidURL, match=r"^The URL of the service ") as caught:
        cls(url)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("url", [url for url in NO_URLS if url])
def test_the_command_says_so_in_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "x", "--url", url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("afterwards: The URL of the service ")
    assert line.endswith("; one that can be used is http://127.0.0.1:8000")
    assert "cret" not in line


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://service:8000/below/", "http://service:8000/below"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("HTTPS://jo:p@service.example./x", "https://service.example./x"),
    ],
)
def test_a_url_is_used_without_its_user_and_its_last_slash(url: str, shown: str) -> None:
    assert urls.of_service(url)[0] == shown


def test_a_header_with_the_password_is_not_in_a_repr() -> None:
    _, headers = urls.of_service("http://jo:s3cret@service")
    assert headers["Authorization"] == "Basic am86czNjcmV0"
    assert "czNjcmV0" not in repr(headers)
