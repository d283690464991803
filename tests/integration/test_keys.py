"""Keys on a real service of two workers: made on its machine, and at once in force in both."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

from tests.integration.conftest import AFTERWARDS, Service, wait_for

IN_FORCE_SECONDS = 2.0
"""The promise: in every worker."""
LOOKS = 30
"""As many new connections in a row reach both workers."""


def keys(service: Service, *words: str) -> str:
    done = subprocess.run(
        [AFTERWARDS, "keys", *words, "--data-dir", service.data_dir],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "no service runs" not in done.stderr
    return done.stdout.strip()


def status_of(service: Service, token: str | None, path: str = "/stats") -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return service.client.get(path, headers=headers).status_code


def require_soon(service: Service, token: str | None, status: int) -> None:
    """Have all workers answer with the status, within the time that is promised."""
    deadline, in_a_row = time.monotonic() + IN_FORCE_SECONDS, 0
    while in_a_row < LOOKS:
        asked_at = time.monotonic()
        if status_of(service, token) == status:
            in_a_row += 1
        else:
            assert asked_at < deadline, f"a worker does not answer {status} in time"
            in_a_row = 0


def new_key(service: Service, admin: str, name: str) -> tuple[str, str]:
    answer = service.client.post(
        "/keys", json={"name": name, "role": "viewer"}, headers={"Authorization": f"Bearer {admin}"}
    )
    assert answer.status_code == 201, answer.text
    document = answer.json()
    return document["id"], document["token"]


def revoke(service: Service, admin: str, key_id: str) -> None:
    headers = {"Authorization": f"Bearer {admin}"}
    assert service.client.delete(f"/keys/{key_id}", headers=headers).status_code == 204


def test_keys_are_in_force_in_every_worker_at_once_and_after_the_registry_has_died(
    new_service: Callable[..., Service],
) -> None:
    service = new_service()
    service.start()
    assert {status_of(service, None) for _ in range(LOOKS)} == {200}

    admin = keys(service, "create", "root", "--role", "admin")
    require_soon(service, None, 401)
    require_soon(service, admin, 200)

    key_id, token = new_key(service, admin, "first")
    require_soon(service, token, 200)
    revoke(service, admin, key_id)
    require_soon(service, token, 401)

    key_id, token = new_key(service, admin, "second")
    require_soon(service, token, 200)
    os.kill(service.registry_pid(), signal.SIGKILL)
    # What was in force goes on without a registry, and what changes has to wait for it.
    assert status_of(service, None) == 401
    wait_for(lambda: _answers(service, admin), "the registry is back")
    revoke(service, admin, key_id)
    require_soon(service, token, 401)
    require_soon(service, admin, 200)

    keys(service, "off")
    require_soon(service, None, 200)
    assert token not in service.log_file.read_text()
    assert admin not in service.log_file.read_text()


def _answers(service: Service, token: str) -> bool:
    return status_of(service, token, "/keys") == 200
