"""The proxies of `deploy/`, each as its file has it, before a service of the tests."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from tests.deploy.files import DEPLOY, ROOT
from tests.integration.conftest import wait_for

NAME: Final = "tasks.example.org"
PREFIX: Final = "/tasks-service"
CREDENTIALS: Final = ("somebody", "secret")
SERVICE: Final = "127.0.0.1:8000"
TOOLS: Final = {
    name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:{sys.prefix}/tools")
    for name in ("nginx", "caddy", "openssl")
}

_NGINX: Final = """\
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
    {site}
}}
"""
_CADDY: Final = """\
{{
    admin off
    http_port {http}
    https_port {https}
}}
{site}
"""


class _Here(httpx.HTTPTransport):
    """Finds the name of the site on this machine."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = NAME
        request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


def blocks_of_the_page(language: str) -> str:
    """The blocks of the page, which serve under a path."""
    page = (ROOT / "docs" / "deployment.md").read_text()
    return "".join(re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def certificate(directory: Path) -> Path:
    """A certificate of the site, beside its key."""
    made = directory / "site.pem"
    command = [str(TOOLS["openssl"]), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    command += ["-days", "1", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    command += ["-keyout", str(directory / "site.key"), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """A file with what a user is told to replace, and the ports of the test."""
    for what, by in changes.items():
        assert what in text, what
        text = text.replace(what, by)
    return text


def nginx(directory: Path, service: str, ports: tuple[int, int]) -> list[str]:
    """The command of an nginx with the site of `deploy/nginx.conf`."""
    passwords = directory / "passwords"
    passwords.write_text("{}:{{PLAIN}}{}\n".format(*CREDENTIALS))
    text = (DEPLOY / "nginx.conf").read_text()
    end = text.rindex("}")
    site = replaced(
        text[:end] + blocks_of_the_page("nginx") + text[end:],
        {
            SERVICE: service,
            "listen [::]:80;": "",
            "listen [::]:443 ssl http2;": "",
            "listen 80;": f"listen 127.0.0.1:{ports[0]};",
            "listen 443 ": f"listen 127.0.0.1:{ports[1]} ",
            "/etc/ssl/certs/tasks.example.org.pem": str(directory / "site.pem"),
            "/etc/ssl/private/tasks.example.org.key": str(directory / "site.key"),
            "/etc/nginx/tasks.htpasswd": str(passwords),
        },
    )
    # Root's workers would run as somebody who cannot read the tests' files.
    user = "user root root;" if os.geteuid() == 0 else ""
    file = directory / "nginx.conf"
    file.write_text(_NGINX.format(user=user, directory=directory, site=site))
    log = ["-e", str(directory / "error.log")]
    return [str(TOOLS["nginx"]), "-p", str(directory), *log, "-c", str(file), "-g", "daemon off;"]


def caddy(directory: Path, service: str, ports: tuple[int, int]) -> list[str]:
    """The command of a Caddy with the site of `deploy/Caddyfile`."""
    caddy = str(TOOLS["caddy"])
    hashed = subprocess.run(
        [caddy, "hash-password", "--plaintext", CREDENTIALS[1]],
        check=True,
        capture_output=True,
        text=True,
    )
    text = (DEPLOY / "Caddyfile").read_text()
    end = text.rindex("}")
    own = f"\ttls {directory / 'site.pem'} {directory / 'site.key'}\n"
    site = replaced(
        text[:end] + own + blocks_of_the_page("caddy") + text[end:],
        {SERVICE: service, "$2a$14$REPLACE": hashed.stdout.strip()},
    )
    file = directory / "Caddyfile"
    file.write_text(_CADDY.format(http=ports[0], https=ports[1], site=site))
    return [caddy, "run", "--config", str(file), "--adapter", "caddyfile"]


PROXIES: Final[Mapping[str, Callable[[Path, str, tuple[int, int]], list[str]]]] = {
    "nginx": nginx,
    "caddy": caddy,
}


class Proxy(NamedTuple):
    """One that runs before a service."""

    client: Callable[..., httpx.Client]
    """Makes a client of its site; `local` is the client's address."""
    plain: str
    """The URL without TLS."""


@contextmanager
def running(kind: str, directory: Path, service: str) -> Iterator[Proxy]:
    """Run a proxy as its file has it."""
    context = ssl.create_default_context(cafile=str(certificate(directory)))
    ports = (free_port(), free_port())
    command = PROXIES[kind](directory, service, ports)
    log = directory / "log"
    # Caddy keeps what it made in its home.
    environment = {**os.environ, "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    with log.open("wb") as output:
        proxy = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    clients: list[httpx.Client] = []

    def client(local: str = "127.0.0.1", **options: Any) -> httpx.Client:
        transport = _Here(verify=context, local_address=local, http2=False)
        base = f"https://{NAME}:{ports[1]}"
        options = {"auth": CREDENTIALS, "timeout": 30, **options}
        clients.append(httpx.Client(base_url=base, transport=transport, **options))
        return clients[-1]

    def is_up() -> bool:
        assert proxy.poll() is None, log.read_text()
        try:
            return clients[0].get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        client()
        wait_for(is_up, f"{kind} serves; its log: {log}")
        yield Proxy(client, f"http://127.0.0.1:{ports[0]}")
    finally:
        for each in clients:
            each.close()
        proxy.terminate()
        proxy.wait(20)
