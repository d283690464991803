"""The blocks for nginx in docs/deployment.md, in a real nginx before a real service."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import Service, wait_for

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
PREFIX = "/tasks-service"
MESSAGE = {"email": "success@simulator.example", "message": "Hello"}
CREDENTIALS = ("somebody", "secret")
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:{sys.prefix}/tools")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not there; make tools gets it")

_CONFIGURATION = """\
{user}
pid {directory}/pid;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/bodies;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {address};
        {blocks}
    }}
}}
"""


def blocks() -> str:
    """Those of the page; the second has the rest of the first, as it says."""
    first, second = re.findall(r"^```nginx\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    location = re.search(r"location / \{\n(.*?)^\}", first, re.DOTALL | re.MULTILINE)
    assert location is not None
    rest = re.sub(r"^ *proxy_pass .*\n", "", location[1], flags=re.MULTILINE)
    return "".join((first, second.replace("{\n", f"{{\n{rest}", 1)))


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(
        tmp_path_factory.mktemp("service"),
        workers="1",
        root_path=PREFIX,
        trusted_proxies="127.0.0.1",
    )
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def proxy(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of an nginx that is configured as the page says."""
    directory = tmp_path_factory.mktemp("nginx")
    passwords = directory / "passwords"
    passwords.write_text("{}:{{PLAIN}}{}\n".format(*CREDENTIALS))
    address = free_address()
    ours = blocks().replace("127.0.0.1:8000", service.address)
    ours = ours.replace("/etc/nginx/tasks.htpasswd", str(passwords))
    file = directory / "nginx.conf"
    # Root's workers would run as somebody who cannot read the tests' files.
    user = "user root root;" if os.geteuid() == 0 else ""
    file.write_text(
        _CONFIGURATION.format(user=user, directory=directory, address=address, blocks=ours)
    )
    log = directory / "error.log"
    command = [str(NGINX), "-p", str(directory), "-e", str(log), "-c", str(file)]
    check = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr

    nginx = subprocess.Popen([*command, "-g", "daemon off;"])
    client = httpx.Client(base_url=f"http://{address}", auth=CREDENTIALS, timeout=30)

    def is_up() -> bool:
        assert nginx.poll() is None, log.read_text()
        try:
            return client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(is_up, f"nginx serves; its log: {log}")
        yield client
    finally:
        client.close()
        nginx.terminate()
        nginx.wait(20)


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/%6Detrics"])
def test_metrics_are_not_for_the_world(proxy: httpx.Client, prefix: str, path: str) -> None:
    origin = str(proxy.base_url).rstrip("/")
    assert proxy.get(f"{origin}{prefix}{path}").status_code == 403


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_who_has_no_password_is_asked_for_it(proxy: httpx.Client, prefix: str) -> None:
    assert proxy.get(f"{prefix}/healthz", auth=None).status_code == 401
    assert proxy.get(f"{prefix}/healthz").status_code == 200


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_location_leads_to_the_task(proxy: httpx.Client, prefix: str) -> None:
    accepted = proxy.post(f"{prefix}/notify/", json=MESSAGE)
    assert accepted.is_success
    target = accepted.url.join(accepted.headers["Location"])
    assert target.path.startswith(f"{prefix}/status/")
    assert target.path.endswith(accepted.json()["task_id"])
    assert proxy.get(target).status_code == 200


def test_pages_of_the_service_are_known_by_the_proxy_s_address(proxy: httpx.Client) -> None:
    own = str(proxy.base_url).rstrip("/")
    for origin, is_accepted in ((own, True), ("http://elsewhere.example", False)):
        answer = proxy.post("/notify/", json=MESSAGE, headers={"Origin": origin})
        assert (answer.is_success, origin) == (is_accepted, origin)
