"""Make the pictures of the dashboard: `make screenshots`, or `python -m tests.pictures FOLDER`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, Literal, NamedTuple

from playwright.sync_api import Browser

from afterwards.logs import configure
from loadtests.browser import chromium
from tests.browser.pixels import Picture
from tests.browser.state import ended, submitted
from tests.browser.window import Window
from tests.integration.conftest import Service, wait_for
from tests.otlp import collecting
from tests.pictures.day import lived

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE.parents[1] / "docs" / "pictures"

Scheme = Literal["light", "dark"]


class Shot(NamedTuple):
    """One picture to be taken; `path` may name a task by its role in the state."""

    name: str
    path: str
    scheme: Scheme = "light"
    width: int = 1280
    height: int = 800


PICTURES: Final = (
    Shot("overview", "?range=24h", height=620),
    Shot("overview-dark", "?range=24h", "dark", height=620),
    Shot("overview-narrow", "?range=24h", width=390, height=844),
    Shot("tasks", "tasks?status=failed", height=560),
    Shot("task", "tasks/{failed}", height=880),
    Shot("task-narrow", "tasks/{running}", width=390, height=844),
    Shot("errors", "errors", "dark", height=560),
    Shot("type", "types/charge?range=24h", height=720),
    Shot("schedules", "schedules", height=560),
    Shot("workers", "workers", "dark", height=640),
)


def main() -> None:
    """Live the day, start the shop, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    folder.mkdir(exist_ok=True)
    configure("critical")
    # Memory: thousands of commits that need not outlive anything.
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home,
        collecting() as collector,
    ):
        service = Service(Path(home), task_modules="shop", workers="2")
        # A task's page shows its trace.
        service.set(otlp_endpoint=collector.url, trace_link=f"{collector.url}/{{trace_id}}")
        service.directory = HERE
        service.data_dir.mkdir(mode=0o700)
        lived(service.data_dir)
        try:
            service.start()
            ids = opened(service)
            with chromium() as browser:
                for shot in PICTURES:
                    take(browser, service, shot, ids, folder)
        finally:
            service.kill_everything()
            service.client.close()


def opened(service: Service) -> Mapping[str, str]:
    """Have something of everything in a shop that has just opened; ids of tasks by their role."""
    labels = {"tenant": "acme", "plan": "pro"}
    # From here on there are hosts.
    ended(service, submitted(service, "sync-stock", {"warehouse": "oban"}))
    failing = submitted(
        service, "sync-stock", {"warehouse": "leith", "articles": 250}, labels=labels
    )
    running = [
        submitted(service, "import-catalogue", {"supplier": name, "done": done}, labels=labels)
        for name, done in (("northwind", 0.62), ("contoso", 0.17))
    ]
    for name in ("fabrikam", "tailspin"):
        submitted(service, "import-catalogue", {"supplier": name})
    for order in range(90_001, 90_007):
        submitted(service, "charge", {"order": order, "amount": 42.5}, delay_seconds=3_600)
    for order in (90_007, 90_008):
        charge = {"order": order, "amount": 9.9, "card": "expired"}
        ended(service, submitted(service, "charge", charge, labels=labels))
    _put_schedules(service)
    assert service.post("/task-types/receipt/pause").is_success
    for order in range(90_009, 90_013):
        submitted(service, "receipt", {"order": order, "email": f"jo{order}@shop.example"})
    assert ended(service, failing) == "failed"
    wait_for(lambda: _has_progress(service, running[0]), "the import says how far it is")
    return {"failed": failing, "running": running[0]}


def _put_schedules(service: Service) -> None:
    stock = {"type": "sync-stock", "payload": {"warehouse": "oban"}}
    catalogue = {"type": "import-catalogue", "payload": {"supplier": "northwind"}}
    for name, schedule in {
        "stock-hourly": {**stock, "cron": "10 * * * *", "timezone": "Europe/London"},
        "catalogue-nightly": {**catalogue, "cron": "30 2 * * 1-5", "timezone": "Europe/Berlin"},
        "stock-often": {**stock, "every_seconds": 900},
    }.items():
        assert service.client.put(f"/schedules/{name}", json=schedule).is_success
    assert service.post("/schedules/stock-often/pause").is_success
    assert service.post("/schedules/stock-hourly/run").is_success


def _has_progress(service: Service, task_id: str) -> bool:
    return service.get(f"/tasks/{task_id}").json()["progress"] is not None


def take(
    browser: Browser, service: Service, shot: Shot, ids: Mapping[str, str], folder: Path
) -> None:
    """Take one picture, of a page that has its data."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.scheme,
        reduced_motion="reduce",
        timezone_id="UTC",
        locale="en-GB",
    )
    with closing(context):
        window = Window(context, service.url)
        page = window.open(shot.path.format(**ids))
        page.wait_for_load_state()
        page.get_by_text("Live", exact=True).first.wait_for(state="attached")
        taken = Picture.of(page.screenshot(animations="disabled"), context.new_page())
        (folder / f"{shot.name}.png").write_bytes(taken.png())
        assert window.faults == []


if __name__ == "__main__":
    main()
