"""Mail to a real server: its connections, its answers, and what becomes of an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwards.mail import mailer as mailer_module
from afterwards.mail.content import Mail
from afterwards.mail.mailer import Mailer
from afterwards.mail.settings import MailSettings, SmtpServer, sender_of
from afterwards_executors.retry import PermanentError, TransientError
from tests.mail_server import DROP, STALL, MailServer, write_certificate

TASK_ID = "d98716c9-b6cc-4037-8f35-978e3bf468b7"
MAIL = Mail("jo@example.com", "Hello", "A test.")
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls") / "mail.pem")


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer().running() as running:
        yield running


def settings_for(server: MailServer, url: str = "smtp://", **changes: Any) -> MailSettings:
    scheme, _, login = url.partition("://")
    values: dict[str, Any] = {
        "server": SmtpServer.of_url(f"{scheme}://{login}127.0.0.1:{server.port}"),
        "sender": sender_of("Shop <no-reply@example.com>"),
        "notification_subject": "Notification",
        "connections": 4,
        "workers": 1,
        "timeout_seconds": 20.0,
    }
    return MailSettings(**{**values, **changes})


def with_mailer(settings: MailSettings, story: Callable[[Mailer], Awaitable[None]]) -> None:
    async def run() -> None:
        mailer = Mailer(settings)
        try:
            await story(mailer)
        finally:
            await mailer.close()

    asyncio.run(run())


def send(settings: MailSettings, *mails: Mail) -> None:
    """Send mails one after another."""

    async def story(mailer: Mailer) -> None:
        for mail in mails:
            await mailer.send(mail, TASK_ID)

    with_mailer(settings, story)


async def until_commanded(server: MailServer, command: str) -> None:
    async with asyncio.timeout(20):
        while command not in server.commands:  # noqa: ASYNC110 - it runs in another thread
            await asyncio.sleep(0.01)


# -- security and login ---------------------------------------------------------------------------


def test_a_plain_server_gets_the_mail(server: MailServer) -> None:
    send(settings_for(server), MAIL)
    (mail,) = server.mails
    assert mail.sender == "no-reply@example.com"
    assert mail.recipients == ["jo@example.com"]
    assert mail.message["Message-ID"] == f"<{TASK_ID}@example.com>"
    assert str(mail.message["From"]) == "Shop <no-reply@example.com>"
    assert mail.message.get_content() == "A test.\r\n"


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_a_login_and_a_mail_go_over_tls(
    scheme: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = MailServer(
        certificate=certificate, begins_with_tls=scheme == "smtps", logins={"jo": PASSWORD}
    )
    with server.running():
        send(settings_for(server, f"{scheme}://jo:correct%20horse@"), MAIL)
    assert len(server.mails) == 1


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_a_certificate_that_is_not_trusted_is_refused_for_good(
    scheme: str, certificate: Path
) -> None:
    server = MailServer(certificate=certificate, begins_with_tls=scheme == "smtps")
    with server.running(), pytest.raises(PermanentError, match=r"certificate .* is refused"):
        send(settings_for(server, f"{scheme}://"), MAIL)


def test_a_server_without_starttls_gets_neither_login_nor_mail() -> None:
    server = MailServer(logins={"jo": PASSWORD})
    with server.running(), pytest.raises(PermanentError, match="STARTTLS"):
        send(settings_for(server, "smtp+starttls://jo:correct%20horse@"), MAIL)
    assert server.mails == []
    assert "AUTH" not in server.commands


def test_a_wrong_login_fails_for_good_and_shows_no_password() -> None:
    server = MailServer(logins={"jo": PASSWORD})
    with server.running(), pytest.raises(PermanentError) as caught:
        send(settings_for(server, "smtp://jo:hunter2hunter2@"), MAIL)
    assert "refused the login of jo: 535" in str(caught.value)
    assert "hunter2" not in str(caught.value)


# -- answers --------------------------------------------------------------------------------------


def test_a_recipient_refused_for_good_is_told_with_the_servers_words(server: MailServer) -> None:
    server.refused["jo@example.com"] = "550 5.1.1 User unknown"
    with pytest.raises(PermanentError, match=r"refused jo@example\.com: 550 5\.1\.1 User unknown"):
        send(settings_for(server), MAIL)


def test_a_recipient_refused_for_now_is_tried_again_and_gets_the_mail(server: MailServer) -> None:
    server.answers["RCPT"].append("450 4.2.1 Too fast")
    settings = settings_for(server)
    with pytest.raises(TransientError, match=r"jo@example\.com: 450 4\.2\.1 Too fast"):
        send(settings, MAIL)
    send(settings, MAIL)
    assert len(server.mails) == 1


def test_a_mail_of_which_one_recipient_is_refused_goes_to_none(server: MailServer) -> None:
    server.refused["cc@example.com"] = "550 5.1.1 User unknown"
    mail = Mail("jo@example.com", "Hello", "A test.", cc=["cc@example.com", "too@example.com"])
    with pytest.raises(PermanentError) as caught:
        send(settings_for(server), mail)
    assert "refused 1 of 3 recipients" in str(caught.value)
    assert "cc@example.com: 550 5.1.1 User unknown" in str(caught.value)
    assert server.mails == []


def test_after_a_refusal_for_now_and_one_for_good_it_is_not_tried_again(
    server: MailServer,
) -> None:
    server.refused |= {"jo@example.com": "450 4.2.1 Too fast", "cc@example.com": "550 5.1.1 No"}
    with pytest.raises(PermanentError, match="refused 2 of 2"):
        send(settings_for(server), Mail("jo@example.com", "Hi", "Text", cc=["cc@example.com"]))


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("MAIL", "451 4.3.0 Later", TransientError),
        ("MAIL", "553 5.1.8 Not yours", PermanentError),
        ("DATA", "452 4.3.1 Disk full", TransientError),
        ("DATA", "554 5.7.1 Spam", PermanentError),
    ],
)
def test_4yz_is_worth_another_attempt_and_5yz_is_not(
    server: MailServer, command: str, answer: str, error: type[Exception]
) -> None:
    server.answers[command].append(answer)
    with pytest.raises(error, match=answer):
        send(settings_for(server), MAIL)


def test_after_a_refusal_the_same_connection_takes_the_next_mail(server: MailServer) -> None:
    server.answers["RCPT"].append("550 5.1.1 User unknown")

    async def story(mailer: Mailer) -> None:
        with pytest.raises(PermanentError):
            await mailer.send(MAIL, TASK_ID)
        await mailer.send(MAIL, TASK_ID)

    with_mailer(settings_for(server), story)
    assert server.connections == 1
    assert len(server.mails) == 1


def test_a_server_that_does_not_answer_costs_its_time_and_may_answer_later(
    server: MailServer,
) -> None:
    server.answers["MAIL"].append(STALL)
    with pytest.raises(TransientError, match=r"gave no answer within 0\.2 s"):
        send(settings_for(server, timeout_seconds=0.2), MAIL)


def test_a_mail_without_an_answer_is_said_to_come_twice_perhaps(server: MailServer) -> None:
    server.answers["DATA"].append(DROP)
    with pytest.raises(TransientError, match="another attempt may send it twice"):
        send(settings_for(server), MAIL)
    # Not tried on another connection: that would be the second mail.
    assert server.connections == 1


def test_a_server_that_is_not_there_may_be_there_later() -> None:
    with MailServer().running() as server:
        settings = settings_for(server)
    with pytest.raises(TransientError, match="cannot be reached"):
        send(settings, MAIL)


# -- connections ----------------------------------------------------------------------------------


def test_mails_share_a_connection_and_are_apart_on_it(server: MailServer) -> None:
    send(settings_for(server), MAIL, MAIL, MAIL)
    assert server.connections == 1
    assert server.commands == [
        "EHLO", *("MAIL", "RCPT", "DATA"), *("RSET", "MAIL", "RCPT", "DATA") * 2, "QUIT"
    ]  # fmt: skip


def test_a_connection_that_the_server_closed_is_replaced(server: MailServer) -> None:
    async def story(mailer: Mailer) -> None:
        await mailer.send(MAIL, TASK_ID)
        await asyncio.to_thread(server.close_connections)
        await mailer.send(MAIL, TASK_ID)

    with_mailer(settings_for(server), story)
    assert server.connections == 2
    assert len(server.mails) == 2


@pytest.mark.parametrize("command", ["RSET", "MAIL", "RCPT"])
@pytest.mark.parametrize("answer", ["421 4.7.0 Enough mails for one connection", DROP])
def test_a_connection_that_ends_before_the_content_is_replaced(
    server: MailServer, command: str, answer: str
) -> None:
    async def story(mailer: Mailer) -> None:
        await mailer.send(MAIL, TASK_ID)
        server.answers[command].append(answer)
        await mailer.send(MAIL, TASK_ID)

    with_mailer(settings_for(server), story)
    assert server.connections == 2
    assert len(server.mails) == 2


def test_a_kept_connection_that_went_silent_is_replaced(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(mailer: Mailer) -> None:
        await mailer.send(MAIL, TASK_ID)
        server.answers["RSET"].append(STALL)
        await mailer.send(MAIL, TASK_ID)

    monkeypatch.setattr("afterwards.mail.connection._PROBE_SECONDS", 0.2)
    with_mailer(settings_for(server), story)
    assert server.connections == 2
    assert len(server.mails) == 2


def test_a_server_that_takes_no_mails_now_is_not_asked_again_in_this_attempt(
    server: MailServer,
) -> None:
    server.answers["MAIL"].append("421 4.3.2 Going down")
    with pytest.raises(TransientError, match=r"421 4\.3\.2 Going down"):
        send(settings_for(server), MAIL)
    assert server.connections == 1


def test_a_connection_without_mails_is_ended_in_order(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailer_module, "IDLE_SECONDS", 0.05)

    async def story(mailer: Mailer) -> None:
        await mailer.send(MAIL, TASK_ID)
        await until_commanded(server, "QUIT")
        await mailer.send(MAIL, TASK_ID)

    with_mailer(settings_for(server), story)
    assert server.connections == 2


def test_a_cancelled_attempt_takes_its_connection_along(server: MailServer) -> None:
    async def story(mailer: Mailer) -> None:
        server.answers["MAIL"].append(STALL)
        sending = asyncio.create_task(mailer.send(MAIL, TASK_ID))
        await until_commanded(server, "MAIL")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await mailer.send(MAIL, TASK_ID)

    with_mailer(settings_for(server), story)
    assert server.connections == 2
    assert len(server.mails) == 1


def test_1000_mails_to_a_slow_server_use_four_connections() -> None:
    async def story(mailer: Mailer) -> None:
        await asyncio.gather(*(mailer.send(MAIL, f"task-{n}") for n in range(1000)))

    with MailServer(seconds=0.005).running() as server:
        with_mailer(settings_for(server), story)
    assert server.most_at_once == 4
    assert server.connections == 4
    ids = {mail.message["Message-ID"] for mail in server.mails}
    assert len(server.mails) == len(ids) == 1000


# -- what a server supports -----------------------------------------------------------------------


def test_a_mail_larger_than_the_server_takes_is_not_sent() -> None:
    with MailServer(size_limit=1000).running() as small:
        mail = Mail("jo@example.com", "Hello", "A test.\n" * 200)
        with pytest.raises(PermanentError, match="takes at most 1000"):
            send(settings_for(small), mail)
    assert "MAIL" not in small.commands


def test_an_address_beyond_ascii_needs_a_server_that_supports_it(server: MailServer) -> None:
    mail = Mail("jürgen@bücher.example", "Grüße", "Text")
    send(settings_for(server), mail)
    (received,) = server.mails
    assert received.recipients == ["jürgen@bücher.example"]
    assert "SMTPUTF8" in received.options
    assert "jürgen@bücher.example" in str(received.message["To"])
    old = MailServer(supports_utf8=False)
    with old.running(), pytest.raises(PermanentError, match="SMTPUTF8"):
        send(settings_for(old), mail)
    assert "MAIL" not in old.commands


def test_a_domain_beyond_ascii_and_text_beyond_it_need_no_support() -> None:
    with MailServer(supports_utf8=False).running() as old:
        send(settings_for(old), Mail("jo@bücher.example", "Grüße 🎉", "Viele Grüße\n.\n"))
    (received,) = old.mails
    assert received.recipients == ["jo@xn--bcher-kva.example"]
    assert received.content.isascii()
    assert received.message["Subject"] == "Grüße 🎉"
    assert received.message.get_content() == "Viele Grüße\r\n.\r\n"
