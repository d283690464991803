"""Mail of a whole service, whose workers die amid it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.integration.conftest import Service, wait_for
from tests.mail_server import MailServer

NewService = Callable[..., Service]

PASSWORD = "correct horse battery"
MAILS = 40


def test_every_mail_comes_though_a_worker_is_killed_and_repeats_have_the_same_id(
    new_service: NewService, tmp_path: Path
) -> None:
    password_file = tmp_path / "smtp_password"
    password_file.write_text(f"{PASSWORD}\n")
    with MailServer(logins={"shop@example.com": PASSWORD}, seconds=0.1).running() as server:
        service = new_service(
            smtp_url=f"smtp://shop%40example.com@127.0.0.1:{server.port}",
            smtp_password_file=str(password_file),
            mail_from="Shop <no-reply@example.com>",
            notification_subject="News of your order",
        )
        service.start()
        wait_for(lambda: len(service.worker_pids()) == 2, "both workers")
        submitted = [submit(service, number) for number in range(MAILS)]
        wait_for(lambda: len(server.mails) >= 5, "the first mails")
        os.kill(service.worker_pids()[0], signal.SIGKILL)
        for task_id in submitted:
            assert service.finished(task_id)["status"] == "success"
        assert showing_the_password(service.processes()) == []
        assert service.stop() == 0
    ids = {str(mail.message["Message-ID"]) for mail in server.mails}
    assert ids == {f"<{task_id}@example.com>" for task_id in submitted}
    subjects = {str(mail.message["Subject"]) for mail in server.mails}
    assert subjects == {"Hello", "News of your order"}
    log = service.log_file.read_text()
    assert PASSWORD not in log
    assert log.count("the login at the mail server is not encrypted") == 1


def submit(service: Service, number: int) -> str:
    if number % 2:
        return service.submit("/notify/", {"email": f"{number}@example.com", "message": "Sent."})
    payload = {"email": f"{number}@example.com", "subject": "Hello", "body": "Text"}
    return service.submit("/send-email", payload)


def showing_the_password(pids: list[int]) -> list[str]:
    files = [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("environ", "cmdline")]
    return [str(file) for file in files if PASSWORD.encode() in file.read_bytes()]
