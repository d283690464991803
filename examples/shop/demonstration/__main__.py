"""Starts the shop with all that is around it, and lets customers use it: `make example`."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Final

import httpx
import uvicorn
from aiosmtpd.controller import Controller

from afterwards_client import AfterwardsClientError, Client, ConnectionFailed, Unavailable

from . import partners
from .customer import Customer, customers_order, owner_adds_up, vendors_import
from .expected import has_happened
from .programs import Program, port
from .terminal import say, within

ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AFTERWARDS: Final = str(Path(sys.executable).with_name("afterwards"))


def main() -> int:
    """Run the demonstration. Its exit status is 0 if all that is expected has happened."""
    parser = argparse.ArgumentParser(prog="python -m shop.demonstration", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when the customers are done")
    once = parser.parse_args().once
    for number in ENDS:
        signal.signal(number, _interrupt)
    try:
        with TemporaryDirectory(prefix="shop-") as home, ExitStack() as stack:
            # Runs that end by themselves may be several at a time.
            service_port, shop_port = (port(), port()) if once else (port(8000), port(8080))
            is_well = demonstrate(Path(home), stack, service_port, shop_port)
            if is_well and not once:
                say("shop", "Look around. Ctrl-C ends everything.")
                signal.pause()
            return 0 if is_well else 1
    except KeyboardInterrupt:
        return 130 if once else 0
    except subprocess.CalledProcessError as error:
        say("shop", f"{error}: {error.stderr}")
        return 1
    except (AfterwardsClientError, httpx.HTTPError, TimeoutError) as error:
        say("shop", f"This should not have happened: {error!r}")
        return 1
    finally:
        say("shop", "Everything is ended, and its files are removed.")


def _interrupt(_number: int, _frame: object) -> None:
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)  # A second Ctrl-C leaves nothing half ended.
    raise KeyboardInterrupt


def demonstrate(home: Path, stack: ExitStack, service_port: int, shop_port: int) -> bool:
    """Start all programs, let customers use the shop, and tell whether all went as expected."""
    ports = {"service": service_port, "shop": shop_port, "mail": port(), "partners": port()}
    urls = {name: f"http://127.0.0.1:{number}" for name, number in ports.items()}
    stack.enter_context(outside(ports["mail"], ports["partners"]))
    tokens = make_keys(home / "data")

    def run(name: str, *command: str, **environment: str) -> Program:
        program = Program(name, *command, environment=environment)
        stack.callback(program.stop)
        program.start()
        return program

    service = run("service", AFTERWARDS, "serve", **service_settings(home, ports, urls["partners"]))
    within(60, "the service is ready", lambda: answers(f"{urls['service']}/readyz"))
    with Client(urls["service"], token=tokens["owner"]) as owner:
        owner.pause_schedule("night")  # Here a night passes when the customers are done.
        settings = {
            "SHOP_DATABASE": str(home / "shop.sqlite3"),
            "SHOP_SERVICE_URL": urls["service"],
            "SHOP_SERVICE_TOKEN": tokens["shop"],
            "SHOP_WEBHOOK_SECRET": make_webhook(owner, urls["shop"]),
        }
        python = (sys.executable, "-m")
        web = ("uvicorn", "shop.web:app", "--log-level=warning", f"--port={ports['shop']}")
        run("web", *python, *web, **settings)
        run("relay", *python, "shop.relay", **settings)
        within(60, "the shop is ready", lambda: answers(f"{urls['shop']}/docs"))
        say("shop", f"The shop: {urls['shop']}/docs")
        say("shop", f"The dashboard: {urls['service']} - log in with {tokens['owner']}")
        say("shop", f"The service is process {service.pid}: kill it once or twice.")
        customer = Customer(urls["shop"])
        vendors_import(customer)
        customers_order(customer)
        owner_adds_up(customer)
        let_a_night_pass(owner)
    return has_happened(f"{urls['service']}/metrics", tokens["prometheus"])


@contextmanager
def outside(mail_port: int, partners_port: int) -> Iterator[None]:
    """The partners and the mail server, in threads."""
    mail = Controller(partners.Mailboxes(), hostname="127.0.0.1", port=mail_port)
    web = uvicorn.Server(uvicorn.Config(partners.app, port=partners_port, log_level="warning"))
    thread = Thread(target=web.run, daemon=True)
    with ExitStack() as stack:
        mail.start()
        stack.callback(mail.stop)
        thread.start()
        stack.callback(thread.join)
        stack.callback(setattr, web, "should_exit", True)
        yield


def make_keys(data: Path) -> dict[str, str]:
    """A token for each who uses the service, with the rights that it needs and no others."""
    rights = {
        "owner": ["--role", "admin", "--payloads"],
        "shop": ["--role", "submitter", "--payloads"],
        "prometheus": ["--grant", "metrics"],
    }
    create = [AFTERWARDS, "keys", "create", "--data-dir", str(data)]
    return {
        name: subprocess.run([*create, name, *own], capture_output=True, text=True, check=True)
        .stdout.strip()
        for name, own in rights.items()
    }  # fmt: skip


def service_settings(home: Path, ports: dict[str, int], partners_url: str) -> dict[str, str]:
    """The settings of the service, and those that it hands on to the task types."""
    secrets = home / "secrets.json"
    secrets.touch(0o600)
    carrier = {"value": partners.CARRIER_KEY, "hosts": ["127.0.0.1"]}
    secrets.write_text(json.dumps({"carrier": carrier}))
    return {
        "AFTERWARDS_BIND": f"127.0.0.1:{ports['service']}",
        "AFTERWARDS_DATA_DIR": str(home / "data"),
        "AFTERWARDS_OUTPUT_DIR": str(home / "outputs"),
        "AFTERWARDS_TASK_MODULES": "shop.order_tasks,shop.catalogue_tasks",
        "AFTERWARDS_BUILTIN_TYPES": "email,http",
        "AFTERWARDS_SMTP_URL": f"smtp://127.0.0.1:{ports['mail']}",
        "AFTERWARDS_MAIL_FROM": "Shop <shop@example.org>",
        "AFTERWARDS_SECRETS_FILE": str(secrets),
        # All is on this machine. In earnest: the carrier's host, and neither ports nor networks.
        "AFTERWARDS_HTTP_HOSTS": "127.0.0.1",
        "AFTERWARDS_HTTP_PORTS": f"{ports['partners']},{ports['shop']}",
        "AFTERWARDS_HTTP_NETWORKS": "127.0.0.0/8",
        "AFTERWARDS_GRACE_SECONDS": "5",
        "AFTERWARDS_LOG_LEVEL": "warning",
        "SHOP_DATABASE": str(home / "shop.sqlite3"),
        "SHOP_BANK_URL": partners_url,
        "SHOP_BANK_KEY": partners.BANK_KEY,
        "SHOP_CARRIER_URL": partners_url,
    }


def make_webhook(owner: Client, shop_url: str) -> str:
    """Have the shop told of the tasks of orders, and give the secret that signs the notices."""
    types = ["shop.payment", "shop.invoice", "shop.refund", "http"]
    webhook = owner.put_webhook("shop", f"{shop_url}/notices", types=types)
    assert webhook.secret is not None, "a new webhook shows its secret"
    return webhook.secret


def let_a_night_pass(owner: Client) -> None:
    """Have the task of the schedule made now, once: the client does not send this call again."""
    while owner.count(type="shop.night").count == 0:
        with suppress(ConnectionFailed, Unavailable):
            owner.run_schedule("night")


def answers(url: str) -> Any:
    """True if a program answers at this address, and well."""
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    sys.exit(main())
