"""The limit: a FastAPI application that validates the same body and does nothing."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Notification(BaseModel):
    """The payload of a notification; any text is an address here."""

    email: str
    message: str


@app.post("/notify/", status_code=202)
async def notify(notification: Notification) -> dict[str, str]:
    """Accept it, and forget it."""
    return {"task_id": notification.email, "status": "started"}
