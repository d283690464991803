"""`deploy/nginx.conf` and `deploy/Caddyfile`, in real proxies before a real service."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.proxies import NAME, PREFIX, PROXIES, TOOLS, Proxy, running
from tests.integration.conftest import Service

MESSAGE = {"email": "success@simulator.example", "message": "Hello"}
MAX_BODY_BYTES = 1_048_576


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    started = Service(
        tmp_path_factory.mktemp("service"),
        workers="1",
        root_path=PREFIX,
        trusted_proxies="127.0.0.1",
        allowed_hosts=NAME,
        notification_delay_seconds="1",
    )
    started.start()
    yield started
    assert started.stop() == 0


@pytest.fixture(scope="module", params=list(PROXIES))
def site(
    request: pytest.FixtureRequest, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    kind: str = request.param
    missing = [tool for tool in (kind, "openssl") if TOOLS[tool] is None]
    if missing:
        pytest.skip(f"{missing[0]} is not there; make tools gets nginx and caddy")
    with running(kind, tmp_path_factory.mktemp(kind), service.address) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def proxy(site: Proxy) -> httpx.Client:
    return site.client()


prefixes = pytest.mark.parametrize("prefix", ["", PREFIX])


@prefixes
@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/%6Detrics"])
def test_metrics_are_not_for_the_world(proxy: httpx.Client, prefix: str, path: str) -> None:
    origin = str(proxy.base_url).rstrip("/")
    assert proxy.get(f"{origin}{prefix}{path}").status_code == 403


@prefixes
def test_who_has_no_password_is_asked_for_it(site: Proxy, prefix: str) -> None:
    refused = site.client(auth=None).get(f"{prefix}/healthz")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic")


@prefixes
def test_a_task_is_accepted_with_a_location_that_leads_to_it(
    proxy: httpx.Client, prefix: str
) -> None:
    accepted = proxy.post(f"{prefix}/tasks", json={"type": "notification", "payload": MESSAGE})
    assert accepted.status_code == 202
    target = accepted.url.join(accepted.headers["Location"])
    assert target.path.startswith(f"{prefix}/")
    assert target.path.endswith(accepted.json()["id"])
    assert proxy.get(target).status_code == 200


def test_a_client_waits_for_the_end_of_its_task(proxy: httpx.Client) -> None:
    body = {"type": "notification", "payload": MESSAGE}
    finished = proxy.post("/tasks", params={"wait": 60}, json=body)
    assert finished.json()["status"] == "success"


def test_a_stream_brings_an_event_while_it_stays_open(proxy: httpx.Client) -> None:
    with proxy.stream("GET", "/events") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        # What comes first says that it has begun: the task's events come after it.
        next(lines)
        task = proxy.post("/tasks", json={"type": "notification", "payload": MESSAGE}).json()["id"]
        assert any(task in line for line in lines)


def test_the_dashboard_finds_its_files_under_a_prefix(proxy: httpx.Client) -> None:
    visit = proxy.get(f"{PREFIX}/", headers={"Accept": "text/html"}, follow_redirects=True)
    assert visit.status_code == 200
    base = re.search(r'<base href="([^"]*)"', visit.text)
    assert base is not None
    home = visit.url.join(base[1])
    assert home.path == f"{PREFIX}/dashboard/"
    files = re.findall(r'(?:src|href)="((?!\.\./|https?:)[^"]*\.(?:js|css|svg))"', visit.text)
    assert len(files) > 10
    assert {proxy.get(home.join(file)).status_code for file in files} == {200}
    assert proxy.get(home.join("../stats")).status_code == 200


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_pages_of_the_service_are_known_by_the_proxy_s_name(
    proxy: httpx.Client, prefix: str
) -> None:
    own = str(proxy.base_url).rstrip("/")
    for origin, is_accepted in ((own, True), ("https://elsewhere.example", False)):
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin" if is_accepted else "none"}
        answer = proxy.post(f"{prefix}/notify/", json=MESSAGE, headers=headers)
        assert (answer.is_success, origin) == (is_accepted, origin)


def addresses(service: Service) -> dict[str, str]:
    """The addresses of those that last did something to a task type, by its name."""
    journal = sqlite3.connect(f"file:{service.data_dir / 'journal.sqlite3'}?mode=ro", uri=True)
    try:
        return dict(journal.execute("SELECT name, address FROM activity ORDER BY number"))
    finally:
        journal.close()


def test_the_service_knows_a_client_s_own_address(site: Proxy, service: Service) -> None:
    forged = {"X-Forwarded-For": "192.0.2.7"}
    for address, verb in (("127.0.0.5", "pause"), ("127.0.0.6", "resume")):
        answer = site.client(address).post(f"/task-types/file/{verb}", headers=forged)
        assert answer.is_success
        assert addresses(service)["file"] == address


def test_nobody_but_a_trusted_proxy_says_who_a_client_is(service: Service) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.9")
    with httpx.Client(base_url=service.url, transport=transport) as stranger:
        for verb in ("pause", "resume"):
            forged = {"X-Forwarded-For": "192.0.2.7"}
            assert stranger.post(f"/task-types/report/{verb}", headers=forged).is_success
    assert addresses(service)["report"] == "127.0.0.9"


def test_the_largest_body_that_the_service_takes_passes(proxy: httpx.Client) -> None:
    empty = json.dumps({"type": "report", "payload": {"name": "n", "details": {"text": ""}}})
    for length, is_accepted in ((MAX_BODY_BYTES, True), (MAX_BODY_BYTES + 1, False)):
        text = empty.replace('""', '"{}"'.format("x" * (length - len(empty))))
        answer = proxy.post("/tasks", content=text, headers={"Content-Type": "application/json"})
        # Caddy may still send when the service refuses, and then does not read the refusal.
        assert answer.status_code in ((202,) if is_accepted else (413, 502)), answer.text


def connections_to(address: str) -> int:
    """Sockets whose other end is the service, those that closed of late included."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(port) for line in lines)


def test_requests_share_a_connection_to_the_service(proxy: httpx.Client, service: Service) -> None:
    proxy.get("/healthz")
    before = connections_to(service.address)
    for _ in range(20):
        assert proxy.get("/healthz").status_code == 200
    assert connections_to(service.address) <= before + 2


def test_a_request_without_tls_is_led_to_tls(site: Proxy, proxy: httpx.Client) -> None:
    led = httpx.get(f"{site.plain}/tasks", headers={"Host": NAME})
    assert led.status_code == 308
    assert led.headers["Location"].startswith(f"https://{NAME}")
    assert proxy.get("/healthz").headers["Strict-Transport-Security"].startswith("max-age=")
