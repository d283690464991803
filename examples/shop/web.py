"""The shop's web application: `uvicorn shop.web:app`. It answers at once; tasks do the work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

from fastapi import Body, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from afterwards import EmailAddress
from afterwards_client import (
    AfterwardsClientError,
    AsyncClient,
    Conflict,
    Gone,
    Invalid,
    InvalidWebhook,
    NewTask,
    NotFound,
    verify_webhook,
)

from .database import Database, Missing, Refused
from .settings import ShopSettings

SETTINGS: Final = ShopSettings()
DATABASE: Final = Database(SETTINGS.database)
SERVICE: Final = AsyncClient(SETTINGS.service_url, token=SETTINGS.service_token.get_secret_value())
VENDORS: Final = "SELECT DISTINCT vendor FROM products"


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Close the connections to the service at the end."""
    async with SERVICE:
        yield


app = FastAPI(title="Shop", lifespan=lifespan)


@app.exception_handler(Refused)
def refused(_request: Request, error: Refused) -> Response:
    """The shop says no."""
    return JSONResponse({"detail": str(error)}, 404 if isinstance(error, Missing) else 409)


@app.exception_handler(AfterwardsClientError)
def service_refused(_request: Request, error: AfterwardsClientError) -> Response:
    """The service says no; or it is full, or away for longer than the client waits."""
    if isinstance(error, Conflict | Gone | Invalid | NotFound):
        return JSONResponse({"detail": error.detail}, error.status)
    return JSONResponse({"detail": "Try again in a moment"}, 503, {"Retry-After": "1"})


async def file_of(task_id: str) -> Response:
    """The first file of a task, a small one, as a download."""
    files = await SERVICE.artifacts(task_id)
    if not files:
        raise HTTPException(404, "There is no file yet")
    with TemporaryDirectory() as directory:
        path = await SERVICE.download(task_id, files[0].name, directory)
        headers = {"Content-Disposition": f'attachment; filename="{path.name}"'}
        return Response(path.read_bytes(), headers=headers, media_type="text/plain; charset=utf-8")


# -- orders ----------------------------------------------------------------------------------------


class Order(BaseModel):
    """The wish of a customer: numbers of products by SKU."""

    email: EmailAddress
    card: str
    items: dict[str, Annotated[int, Field(ge=1)]] = Field(min_length=1)


@app.post("/orders", status_code=202)
def place_order(order: Order, idempotency_key: Annotated[str, Header()]) -> dict[str, int]:
    """Order and task are written in one transaction; the relay hands the task over."""
    number = DATABASE.place_order(idempotency_key, order.email, order.card, order.items)
    return {"number": number}


@app.get("/orders/{number}")
def show_order(number: int) -> dict[str, Any]:
    """An order, and what has become of it."""
    return dict(DATABASE.order(number))


@app.get("/orders/{number}/invoice")
async def download_invoice(number: int) -> Response:
    """The file of the invoice's task, which has the order's number as a label."""
    made = SERVICE.list(type="shop.invoice", status="success", labels={"order": str(number)})
    async for task in made:
        return await file_of(task.id)
    raise HTTPException(404, "There is no invoice yet")


@app.post("/orders/{number}/return", status_code=202)
async def return_order(number: int) -> dict[str, int]:
    """Pay the money back, and ask for no review."""
    await asyncio.to_thread(DATABASE.return_order, number)
    labels = {"order": str(number)}
    async for review in SERVICE.list(type="email", status="scheduled", labels=labels):
        await SERVICE.cancel(review.id)
    return {"number": number}


@app.post("/notices", status_code=204)
async def receive_notice(request: Request) -> None:
    """The service tells what has become of a task of an order, once or more than once."""
    secret = SETTINGS.webhook_secret.get_secret_value()
    try:
        event = verify_webhook(request.headers, await request.body(), secret)
    except InvalidWebhook as error:
        raise HTTPException(400, str(error)) from None
    task = event.data
    news = f"{task['type']} {task['status']}"
    await asyncio.to_thread(DATABASE.note, event.id, int(task["labels"]["order"]), news)


@app.post("/newsletters", status_code=202)
async def send_newsletter(
    subject: Annotated[str, Body()],
    text: Annotated[str, Body()],
    idempotency_key: Annotated[str, Header()],
) -> None:
    """Mail to all customers, after everything else."""
    letter = {"subject": subject, "text": text}
    key = f"newsletter-{idempotency_key}"
    await SERVICE.submit("shop.newsletter", letter, priority=1, idempotency_key=key)


# -- imports of vendors ----------------------------------------------------------------------------


@app.put("/vendors/{vendor}/files/{name}", status_code=202)
async def import_file(
    vendor: str, name: str, content: Annotated[str, Body(media_type="text/csv")]
) -> dict[str, str]:
    """A vendor's files are imported one after the other; a newer one replaces one that waits."""
    file = await asyncio.to_thread(DATABASE.keep_file, content)
    task = await SERVICE.submit(
        "shop.import",
        {"vendor": vendor, "file": file},
        labels={"vendor": vendor},
        concurrency_key=vendor,
        unique_key=f"{vendor}/{name}",
        on_conflict="replace",
    )
    return {"id": task.id}


@app.get("/imports/{task_id}")
async def show_import(task_id: str) -> dict[str, Any]:
    """The progress of an import."""
    task = await SERVICE.get(task_id)
    message = task.error or (task.progress and task.progress.message)
    return {"status": task.status, "message": message, "waits": task.waiting_for is not None}


@app.delete("/imports/{task_id}")
async def cancel_import(task_id: str) -> dict[str, str]:
    """Stop an import, or keep it from starting."""
    return {"outcome": (await SERVICE.cancel(task_id)).outcome}


# -- statements ------------------------------------------------------------------------------------


@app.post("/statements/{year}", status_code=202)
async def make_statements(year: int) -> dict[str, str]:
    """A task for each vendor and month, and one that follows them. A second click gets the same."""
    vendors = await asyncio.to_thread(DATABASE.rows, VENDORS)
    months = [f"{year}-{month:02}" for month in range(1, 13)]
    statements = [
        NewTask("shop.statement", {"vendor": row["vendor"], "month": month})
        for row in vendors
        for month in months
    ]
    totals = NewTask("shop.totals", {"year": year}, unique_key=f"totals-{year}")
    try:
        group_id = (await SERVICE.submit_many(statements, then=totals))[0].group
    except Conflict as error:
        group_id = error.task_id
    return {"page": f"/statements/{group_id}"}


@app.get("/statements/{group_id}")
def statements_page(group_id: str) -> Response:  # noqa: ARG001 - the page reads its own address
    """A page with a progress bar."""
    return FileResponse(Path(__file__).with_name("progress.html"))


@app.get("/statements/{group_id}/events")
async def statements_events(group_id: str) -> Response:
    """The page's stream of server-sent events."""
    await SERVICE.group(group_id)  # An unknown group is a 404, and no stream.
    return StreamingResponse(progress_of(group_id), media_type="text/event-stream")


async def progress_of(group_id: str) -> AsyncIterator[str]:
    """Tell how many tasks of a group have ended, until the one that follows has, too."""
    while True:
        group = await SERVICE.group(group_id)
        status = group.then.status
        facts = {"finished": group.finished, "size": group.size, "status": status}
        yield f"data: {json.dumps(facts)}\n\n"
        if status.is_final:
            return
        await asyncio.sleep(0.5)


@app.get("/statements/{group_id}/totals")
async def download_totals(group_id: str) -> Response:
    """The file of the task that follows the statements. Its id is the group's."""
    return await file_of(group_id)
