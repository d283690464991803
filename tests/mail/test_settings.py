"""The settings of mail: which URLs and senders there are, and that a wrong one tells no secret."""

from __future__ import annotations

import pytest

from afterwards.mail.settings import SmtpServer, sender_of


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", SmtpServer("mail.example", 25, "none")),
        ("smtps://mail.example/", SmtpServer("mail.example", 465, "tls")),
        ("smtp+starttls://mail.example", SmtpServer("mail.example", 587, "starttls")),
        ("smtp://10.0.0.7:2525", SmtpServer("10.0.0.7", 2525, "none")),
        ("smtp://[::1]:2525", SmtpServer("::1", 2525, "none")),
        (
            "smtps://jo%40shop:p%40ss%2Fw%C3%B6rd@mail.example",
            SmtpServer("mail.example", 465, "tls", "jo@shop", "p@ss/wörd"),
        ),
        ("smtps://jo@mail.example", SmtpServer("mail.example", 465, "tls", "jo")),
    ],
)
def test_a_url_names_server_security_and_login(url: str, server: SmtpServer) -> None:
    assert SmtpServer.of_url(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "mail.example",
        "http://mail.example",
        "starttls://mail.example",
        "smtp://",
        "smtp://:25",
        "smtp://mail.example:0",
        "smtp://mail.example:65536",
        "smtp://mail.example:port",
        "smtp://mail.example/path",
        "smtp://mail.example?a=b",
        "smtp://mail example",
        "smtp://[::1",
        "smtp://:hunter2@mail.example",
        # What is not written as %XX cuts the password.
        "smtp://jo:hunter2/x@mail.example",
        "smtp://jo:hunter2#x@mail.example",
        "smtp://jo:hunter2?x@mail.example",
        "smtp://jo:hunter2@[x@mail.example",
    ],
)
def test_a_wrong_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="must be smtp://, smtps://") as caught:
        SmtpServer.of_url(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_text_of_a_server_shows_the_password() -> None:
    server = SmtpServer.of_url("smtp://jo:hunter2@mail.example")
    assert "hunter2" not in f"{server} {server!r}"


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("no-reply@example.com", "", "no-reply@example.com"),
        ("Shop <no-reply@example.com>", "Shop", "no-reply@example.com"),
        ('"Shop, Ltd." <no-reply@example.com>', "Shop, Ltd.", "no-reply@example.com"),
        ("Grüße <jo@bücher.example>", "Grüße", "jo@xn--bcher-kva.example"),
        ("jürgen@bücher.example", "", "jürgen@bücher.example"),
    ],
)
def test_a_sender_has_an_address_and_perhaps_a_name(text: str, name: str, address: str) -> None:
    sender = sender_of(text)
    assert (sender.name, sender.address) == (name, address)


@pytest.mark.parametrize(
    "text", ["", "Shop", "Shop <>", "Shop <no-reply>", "a@example.com, b@example.com",
             "Shop\nBcc: x <no-reply@example.com>", "Shop <a@example.com> <b@example.com>"],
)  # fmt: skip
def test_a_wrong_sender_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be an address, or Name <address>"):
        sender_of(text)
