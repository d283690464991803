"""nginx before a service, under a prefix that it takes off."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.integration.conftest import wait_for

PREFIX: Final = "/some/where"
NGINX: Final = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:{sys.prefix}/tools")

_CONFIGURATION: Final = """\
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
        location {prefix}/ {{
            proxy_pass http://{service}/;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Host $host;
        }}
    }}
}}
"""


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def prefixed(service: str) -> Iterator[str]:
    """The URL of a proxy before the service; the test is skipped without nginx."""
    if NGINX is None:
        pytest.skip("nginx is not there; make tools gets it")
    address = _free_address()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "nginx.conf"
        # Root's workers would run as somebody who cannot read the tests' files.
        user = "user root root;" if os.geteuid() == 0 else ""
        file.write_text(
            _CONFIGURATION.format(
                user=user, directory=directory, address=address, prefix=PREFIX, service=service
            )
        )
        log = f"{directory}/error.log"
        nginx = subprocess.Popen(
            [NGINX, "-p", directory, "-e", log, "-c", str(file), "-g", "daemon off;"]
        )
        try:
            wait_for(lambda: _listens(address), f"nginx listens; its log: {log}")
            yield f"http://{address}{PREFIX}"
        finally:
            nginx.terminate()
            nginx.wait(20)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
