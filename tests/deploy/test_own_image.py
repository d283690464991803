"""An image of one's own, made as `docs/deployment.md` says: with packages, task types and secrets.

Names of images, volumes and the port are the test's, so that those of the machine stay.
"""

from __future__ import annotations

import hmac
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.files import DEPLOY, ROOT
from tests.deploy.stack import free_port
from tests.integration.conftest import wait_for
from tests.integration.reader import BLOCK, commands

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SECTION = re.compile(r"^### An image of your own\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
NAME = f"afterwards-test-{os.getpid()}"
OFFER = {"type": "offer", "payload": {"price": 12_500}}


def section() -> str:
    found = SECTION.search((ROOT / "docs" / "deployment.md").read_text())
    assert found is not None
    return found[1]


def run(line: str, directory: Path, *, check: bool = True) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or not check, f"{line}:\n{done.stdout}{done.stderr}"
    return done.stdout


class Shop:
    """The project of the page, and its image."""

    image = f"{NAME}-shop"
    container = f"{NAME}-container"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "shop").mkdir()
        for block in BLOCK.finditer(section()):
            if block["path"] is not None:
                text = block["body"].replace("FROM afterwards", f"FROM {NAME}")
                (directory / block["path"]).write_text(text)
        [*self._building, self._running] = [
            self._renamed(command.line)
            for block in BLOCK.finditer(section())
            if block["kind"] == "console"
            for command in commands(block["body"])
        ]

    def _renamed(self, line: str) -> str:
        line = line.replace("../afterwards", shlex.quote(str(ROOT)))
        line = re.sub(r"-t (\w+)", lambda found: f"-t {self._name(found[1])}", line)
        return re.sub(r"\bshop-(data|outputs)\b", rf"{NAME}-\1", line)

    def _name(self, image: str) -> str:
        return {"afterwards": NAME, "shop": self.image}[image]

    def build(self) -> None:
        for line in self._building:
            run(line, self.directory)

    def start(self, port: int) -> None:
        *options, image = shlex.split(self._running.replace("$PWD", str(self.directory)))
        assert image == "shop"
        here = [option.replace("127.0.0.1:8000:", f"127.0.0.1:{port}:") for option in options]
        assert here != options, "the port of the page is the test's"
        run(shlex.join([*here, "--detach", "--name", self.container, self.image]), self.directory)

    def inside(self, command: str) -> str:
        words = ["docker", "exec", self.container, "sh", "-c", command]
        return run(shlex.join(words), self.directory).strip()

    def remove(self) -> None:
        for line in (
            f"docker rm --force {self.container}",
            f"docker volume rm {NAME}-data {NAME}-outputs",
            f"docker rmi {self.image} {NAME}",
        ):
            run(line, self.directory, check=False)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    if shutil.which("docker") is None:
        pytest.fail("docker is not on the PATH")
    directory = tmp_path_factory.mktemp("projects") / "shop"
    directory.mkdir()
    shop = Shop(directory)
    try:
        shop.build()
        yield shop
    finally:
        shop.remove()


def result(shop: Shop) -> dict[str, str]:
    """The result of `OFFER`."""
    key, text = (shop.directory / "secrets" / "SHOP_SIGNING_KEY").read_bytes(), "12,500 EUR"
    signature = hmac.digest(key.strip(), text.encode(), "sha256").hex()
    return {"offer": text, "signature": signature}


def offered(url: str) -> Any:
    """The result of an offer. A 503 asks for patience: the first task waits for processes."""
    with httpx.Client(base_url=url, timeout=60) as client:

        def answered() -> httpx.Response | None:
            try:
                answer = client.post("/tasks?wait=20", json=OFFER)
            except httpx.TransportError:
                return None
            return None if answer.status_code == 503 else answer

        task = wait_for(answered, "the image accepts an offer").json()
        return client.get(f"/tasks/{task['id']}?wait=20").json()["result"]


def test_the_image_runs_its_task_types_with_its_packages_and_secrets(shop: Shop) -> None:
    port = free_port()
    shop.start(port)
    assert offered(f"http://127.0.0.1:{port}") == result(shop)
    assert shop.inside("id -u") == "10001"
    assert shop.inside("python -c 'import humanize; print(humanize.__file__)'").startswith("/opt/")
    secret = (shop.directory / "secrets" / "SHOP_SIGNING_KEY").read_text().strip()
    assert secret not in run(f"docker inspect {shop.container} {shop.image}", shop.directory)
    assert secret not in run(f"docker history --no-trunc {shop.image}", shop.directory)


def test_packages_that_the_service_cannot_work_with_end_the_build(shop: Shop) -> None:
    requirements = shop.directory / "requirements.txt"
    fitting = requirements.read_text()
    requirements.write_text("starlette<0.40\n")
    try:
        said = run(f"docker build -t {shop.image}-old . 2>&1", shop.directory, check=False)
    finally:
        requirements.write_text(fitting)
    assert re.search(r"has requirement starlette.*, but you have starlette 0\.3", said), said
    images = run(f"docker images --quiet {shop.image}-old", shop.directory)
    assert images == ""


def test_compose_runs_it_too(shop: Shop, tmp_path: Path) -> None:
    # The page's paths are relative to the first file's directory, where a file must not be written.
    deploy = shop.directory.parent / "afterwards" / "deploy"
    shutil.copytree(DEPLOY, deploy)
    (shop.directory / "docker-compose.shop.yml").rename(deploy / "docker-compose.shop.yml")
    port = free_port()
    files = "--file docker-compose.yml --file docker-compose.shop.yml"
    compose = f"API_PORT={port} docker compose {files} --project-name {NAME}-compose"
    try:
        run(f"{compose} --env-file /dev/null up --build --detach api", deploy)
        found = offered(f"http://127.0.0.1:{port}")
    finally:
        run(f"{compose} down --volumes --rmi local -t 5", deploy, check=False)
    assert found == result(shop)
