"""Arguments that no request can carry: nothing is sent, and one line says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from afterwards.cli import main
from afterwards_client import AsyncClient, Client, InvalidArgument, NewTask
from tests.client.conftest import Handler
from tests.client.documents import ID, task

SURROGATE = "\ud800"

Use = Callable[[Any, str], Any]


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"in": found}
    return found


CIRCLE: dict[str, Any] = {}
CIRCLE["again"] = CIRCLE


@pytest.mark.parametrize("value", ["", ".", "..", "/", f"{ID}/events", "../events", SURROGATE])
@pytest.mark.parametrize(
    "use",
    [
        lambda client, value: client.get(value),
        lambda client, value: client.wait(value, 1),
        lambda client, value: client.result(value),
        lambda client, value: client.retry(value),
        lambda client, value: client.cancel(value),
        lambda client, value: list(client.stream(value)),
    ],
    ids=["get", "wait", "result", "retry", "cancel", "stream"],
)
def test_an_id_that_would_lead_elsewhere_is_refused(
    client: Any, service: Handler, use: Use, value: str
) -> None:
    with pytest.raises(InvalidArgument, match=r"^The task id '.*' cannot be sent: ") as caught:
        use(client, value)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).isprintable()
    assert service.requests == []


@pytest.mark.parametrize(
    "payload",
    [{"a": SURROGATE}, {SURROGATE: 1}, {"a": float("nan")}, {"a": {1}}, nested(100_000), CIRCLE],
    ids=["surrogate", "key", "NaN", "set", "deep", "circle"],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda client, payload: client.submit("report", payload),
        lambda client, payload: client.submit_many([NewTask("report", payload)]),
        lambda client, payload: client.retry(ID, payload),
    ],
    ids=["submit", "submit_many", "retry"],
)
def test_a_payload_that_is_no_json_is_refused(
    client: Any, service: Handler, use: Callable[[Any, Any], Any], payload: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgument, match="it is no JSON: ") as caught:
        use(client, payload)
    assert str(caught.value).isprintable()
    assert service.requests == []


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.submit(SURROGATE),
        lambda client: next(client.list(type=SURROGATE)),
        lambda client: next(client.stream(type=SURROGATE)),
        lambda client: next(client.stream(last_event_id="a\nb")),
        lambda client: next(client.stream(last_event_id="\N{LATIN SMALL LETTER E WITH ACUTE}")),
        lambda client: client.get("x" * 100_000),
    ],
    ids=["type", "filter", "stream's filter", "line break", "not ASCII", "long"],
)
def test_nothing_else_that_cannot_be_sent_is_another_error(
    client: Any, service: Handler, use: Callable[[Any], Any]
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        use(client)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert service.requests == []


@pytest.mark.parametrize("name", ["", "a b", "a\n", "\N{LATIN SMALL LETTER E WITH ACUTE}"])
@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_a_header_s_name_is_judged_when_the_client_is_made(cls: type, name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^The header "):
        cls(headers={name: "x"})


@pytest.mark.parametrize("value", ["s3cret\n", " s3cret", "s3cret\x00", SURROGATE + "s3cret"])
@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_a_header_s_value_is_judged_and_not_repeated(cls: type, value: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^The header 'X-Key' cannot be sent: ") as caught:
        cls(headers={"X-Key": value})
    assert "s3cret" not in str(caught.value)


def test_a_body_is_sent_as_json(client: Any, service: Handler) -> None:
    service.answer(202, task())
    client.submit("report", {"a": "\N{LATIN SMALL LETTER E WITH ACUTE}"})
    (request,) = service.requests
    assert request.headers["Content-Type"] == "application/json"
    assert request.content.decode() == (
        '{"type":"report","payload":{"a":"\N{LATIN SMALL LETTER E WITH ACUTE}"}}'
    )


@pytest.mark.parametrize("value", ["..", "", "x/events", "\udcff"])
def test_the_command_line_takes_it_for_wrong_usage(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", value]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"afterwards: The task id {value!r} cannot be sent: ")
