"""The service does what its own OpenAPI document says, whatever it is sent.

Schemathesis makes requests from the document, such as it allows and such as it forbids, of every
operation and in sequences, and judges the answers by it. The service is whole: its own registry,
its executors, HTTP.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import uvicorn
from fastapi import FastAPI

from afterwards.access.roles import Role
from afterwards.api import waiting
from afterwards.api.authorise import Gate
from afterwards.main import create_app
from afterwards.service import service
from afterwards.settings import Settings
from tests.access.holders import holder, ring_of
from tests.registry.peers import eventually

pytestmark = pytest.mark.processes

HERE = Path(__file__).parent
EXAMPLES = min(20, int(os.environ.get("EXAMPLES_AT_MOST", "1000")) // 2)
"""The number of requests for each operation, valid and invalid, besides those at the schema's
edges."""


FEW_EXAMPLES = 2
"""The same, for each of the keys."""

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance,ignored_auth"
)
KEYS = {
    "viewer": holder(Role.VIEWER, "viewer", payloads=False),
    "submitter": holder(Role.SUBMITTER, "submitter"),
    "operator of types": holder(Role.OPERATOR, "types", types=frozenset({"notification"})),
    "admin of labels": holder(Role.ADMIN, "labels", labels={"tenant": "acme"}, payloads=False),
}


class Served(NamedTuple):
    url: str
    app: FastAPI


@pytest.fixture
def url(served: Served) -> str:
    return served.url


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A whole service, and where it listens."""
    settings = Settings(
        _env_file=None,
        registry="memory",
        data_dir=tmp_path / "data",
        output_dir=tmp_path / "outputs",
        process_slots=1,
        notification_delay_seconds=0,
        report_delay_seconds=0,
        file_delay_seconds=0,
        email_delay_seconds=0,
    )
    app = create_app(settings)
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started, "the service listens", 20)
    [socket] = server.servers[0].sockets
    with pytest.MonkeyPatch.context() as patch:
        # What is ordered for next year is not waited for.
        patch.setattr(waiting, "LONGEST_SECONDS", 0)
        patch.setattr(service, "CANCEL_SECONDS", 0.1)
        yield Served("http://{}:{}".format(*socket.getsockname()), app)
    server.should_exit = True
    thread.join(20)


@pytest.mark.timeout(300)
def test_every_answer_is_one_that_is_documented(url: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [
            Path(sys.executable).with_name("st"),
            *("--config-file", HERE / "schemathesis.toml"),
            *("run", f"{url}/openapi.json", "--no-color"),
            *("--checks", "all", "--mode", "all", "--max-examples", str(EXAMPLES)),
            "--generation-deterministic",
            # Streams end when something has happened, or never.
            *("--exclude-tag", "Events"),
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "fuzzing_hooks", "PYTHONPATH": str(HERE)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
    assert " passed" in run.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "who",
    # The last one reaches most operations, and the fewest tasks.
    [*(pytest.param(who, marks=pytest.mark.thorough) for who in [*KEYS][:-1]), [*KEYS][-1]],
)
def test_so_is_every_answer_to_a_key_and_none_is_given_without_it(
    served: Served, tmp_path: Path, who: str
) -> None:
    # Not renewed by the registry, which knows of no keys here.
    served.app.state.gate = Gate(ring_of(*KEYS.values()))
    run = subprocess.run(
        [
            Path(sys.executable).with_name("st"),
            *("run", f"{served.url}/openapi.json", "--no-color"),
            *("--header", f"Authorization: Bearer {KEYS[who].token}"),
            *("--checks", CHECKS),
            *("--mode", "all", "--phases", "fuzzing", "--max-examples", str(FEW_EXAMPLES)),
            "--generation-deterministic",
            *("--exclude-tag", "Events"),
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "fuzzing_hooks", "PYTHONPATH": str(HERE)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
    assert " passed" in run.stdout
