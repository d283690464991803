"""A service with its registry in PostgreSQL: it starts, works, and waits for its database."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.conftest import Service, wait_for
from tests.postgresql import Server, programs
from tests.registry.bench import keys_of

pytestmark = [pytest.mark.machines, pytest.mark.processes]

NOTE = {"email": "success@simulator.example", "message": "Hello"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql, or make database")
    server = Server(found)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def make(server: Server, new_service: Callable[..., Service]) -> Callable[..., Service]:
    """Makes services on a database that is new."""
    url = server.create("service")
    return lambda **settings: new_service(**{"registry": url, **settings})


def submit(service: Service) -> str:
    answer = service.client.post("/notify/", json=NOTE)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def wait_succeeded(service: Service, task_id: str) -> None:
    def succeeded() -> bool:
        return bool(service.client.get(f"/tasks/{task_id}").json()["status"] == "success")

    wait_for(succeeded, f"task {task_id} done")


def test_two_services_share_a_database(make: Callable[..., Service]) -> None:
    one, other = make(), make()
    one.start()
    other.start()

    task_id = submit(one)
    wait_succeeded(other, task_id)

    assert one.stop() == other.stop() == 0
    assert not (one.data_dir / "journal.sqlite3").exists()


def test_what_is_accepted_outlives_all_processes(make: Callable[..., Service]) -> None:
    service = make(notification_delay_seconds="3600")
    service.start()
    task_id = submit(service)
    service.kill_everything()
    service.set(notification_delay_seconds="0")

    service.start()
    wait_succeeded(service, task_id)

    assert service.client.get(f"/tasks/{task_id}").json()["attempts"] == 2
    assert service.stop() == 0


def test_a_service_is_not_ready_while_its_database_is_away_and_goes_on_after_it(
    make: Callable[..., Service], server: Server
) -> None:
    service = make()
    service.start()
    done = submit(service)
    wait_succeeded(service, done)

    server.stop(signal.SIGQUIT)
    try:
        wait_for(lambda: service.client.get("/readyz").status_code == 503, "not ready")
        assert service.client.post("/notify/", json=NOTE).status_code == 503
    finally:
        server.start()

    wait_for(lambda: service.client.get("/readyz").status_code == 200, "ready again")
    wait_succeeded(service, done)
    wait_succeeded(service, submit(service))
    assert service.stop() == 0


# -- what keeps it from starting ------------------------------------------------------------------


def problem(service: Service) -> str:
    """The one line that it ends with."""
    service.start(ready=False)
    assert service.master is not None
    assert service.master.wait(30) == 2
    [line] = [
        line
        for line in service.log_file.read_text().splitlines()
        if line.startswith("afterwards: ")
    ]
    return line


def test_a_database_that_cannot_be_reached_is_named(new_service: Callable[..., Service]) -> None:
    said = problem(new_service(registry="postgresql://me@127.0.0.1:1/tasks"))
    assert said.startswith("afterwards: AFTERWARDS_REGISTRY: database tasks at 127.0.0.1:1: ")
    assert "refused" in said


def test_rights_that_lack_are_named(make: Callable[..., Service], server: Server) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    guest = server.url("service").replace("postgresql://afterwards@", "postgresql://guest@")
    assert "GRANT CREATE ON DATABASE" in problem(make(registry=guest))


def test_tables_of_a_later_version_are_left_alone(
    make: Callable[..., Service], server: Server
) -> None:
    service = make()
    with psycopg.connect(server.url("service"), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA afterwards")
        connection.execute("CREATE TABLE afterwards.version AS SELECT 9999 AS number")

    assert "version 9999 of the tables" in problem(service)


def test_a_password_is_not_said_in_the_address(new_service: Callable[..., Service]) -> None:
    said = problem(new_service(registry="postgresql://me:dragon@127.0.0.1/tasks"))
    assert "AFTERWARDS_REGISTRY_PASSWORD_FILE" in said
    assert "dragon" not in said


def test_keys_of_the_journal_would_encrypt_nothing(
    make: Callable[..., Service], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(keys_of("one").text)
    assert "encrypts nothing" in problem(make(encryption_keys_file=str(keys)))
