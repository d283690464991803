"""A service with its registry in PostgreSQL: what keeps it from starting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.conftest import Service
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
