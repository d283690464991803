"""The description of the API is made when it is asked for, and holds nobody else up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.api import description
from afterwards.task_types.description import TypeDescription

pytestmark = pytest.mark.anyio

SECONDS = 20.0
"""Far longer than it takes."""


class Making:
    """Stands for the making of a description, which goes on until it is let end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.catalogues: list[Mapping[str, TypeDescription]] = []

    def __call__(self, app: FastAPI, catalogue: Mapping[str, TypeDescription]) -> dict[str, Any]:
        self.catalogues.append(catalogue)
        self.begun.set()
        assert self.may_end.wait(SECONDS)
        return {"made": len(self.catalogues)}


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> Making:
    making = Making()
    monkeypatch.setattr(description, "_document", making)
    return making


def asked(client: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(client.get("/openapi.json"))


async def test_others_are_answered_while_it_is_made(
    client: httpx.AsyncClient, making: Making
) -> None:
    asking = asked(client)
    await asyncio.to_thread(making.begun.wait, SECONDS)
    assert (await client.get("/healthz")).status_code == 200
    assert not asking.done()
    making.may_end.set()
    assert (await asking).json()["made"] == 1


async def test_it_is_made_once_for_all_that_ask_meanwhile_and_later(
    client: httpx.AsyncClient, making: Making
) -> None:
    making.may_end.set()
    answers = await asyncio.gather(*(asked(client) for _ in range(3)))
    answers.append(await asked(client))
    assert [answer.json()["made"] for answer in answers] == [1, 1, 1, 1]
    assert len(making.catalogues) == 1


async def test_one_of_task_types_that_change_meanwhile_is_not_kept(
    client: httpx.AsyncClient, app: FastAPI, making: Making
) -> None:
    asking = asked(client)
    await asyncio.to_thread(making.begun.wait, SECONDS)
    app.state.catalogue = {}
    app.state.description.renew()
    making.may_end.set()
    assert (await asking).json()["made"] == 1
    assert [(await asked(client)).json()["made"] for _ in range(2)] == [2, 2]
    assert [len(catalogue) > 0 for catalogue in making.catalogues] == [True, False]
