"""Secrets are not shown, and what is edited around them keeps them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, RootModel, SecretBytes, SecretStr
from pydantic_core import to_json

from afterwards.api.redaction import MASK, Redaction, secret_names
from afterwards.lifecycle import Task
from afterwards.settings import Settings
from afterwards.task_types.base import TaskType
from afterwards.task_types.description import in_process

NAMES = ("password", "api_key", "token")


class Pin(RootModel[SecretStr]):
    pass


class Card(BaseModel):
    number: SecretStr
    holder: str = ""


class Order(BaseModel):
    card: Card | None = None
    cards: list[Card] = []
    pins: list[SecretStr] = []
    by_name: dict[str, SecretBytes] = {}
    pin: Pin | None = None
    note: str = ""
    again: Order | None = None


def run(_: Any, __: Any) -> dict[str, Any]:
    return {}


CATALOGUE = in_process({"order": TaskType("order", Order, run, executor="thread")})
REDACTION = Redaction(NAMES, CATALOGUE)


def task(payload: Any, result: Any = None, name: str = "other") -> Task:
    encoded = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    kept = None if result is None else json.dumps(result).encode()
    return Task("id", name, encoded, "thread", 0.0, 0.0, result=kept)


def shown(payload: Any, name: str = "other") -> Any:
    return json.loads(REDACTION.task(task(payload, name=name)).payload)


@pytest.mark.parametrize("name", ["password", "PassWord", "API-Key", "api_key", "token"])
def test_members_of_these_names_are_masked_at_any_depth_whatever_they_hold(name: str) -> None:
    for value in ("s3cret", 'a "quoted\\" one', 7, -1.5e9, True, [1, {"a": "]}"}], {"b": ["}"]}):
        assert shown({name: value, "n": 1}) == {name: MASK, "n": 1}
        assert shown({"a": [{"b": {name: value}}], "n": [1]}) == {
            "a": [{"b": {name: MASK}}],
            "n": [1],
        }


def test_what_is_not_such_a_member_stays_as_it_is() -> None:
    for payload in (
        {"text": "password"},
        {"text": '"password": "x"', "passwords": 1, "my_token": 2},
        {"password": None, "a": {"token": None}},
        ["token", {"a": "token"}],
    ):
        assert shown(payload) == payload
    assert REDACTION.task(task(b'{"password" : "x" , "n" : 1.50}')).payload == (
        b'{"password" : "**********" , "n" : 1.50}'
    )


def test_a_task_without_such_names_is_the_same_object() -> None:
    plain = task({"email": "a@b.example", "n": [1, 2]}, {"ok": True})
    assert REDACTION.task(plain) is plain


def test_results_are_masked_too() -> None:
    assert REDACTION.task(task({}, {"token": "t", "n": 1})).result == (
        b'{"token": "**********", "n": 1}'
    )


def test_a_deep_payload_is_no_trouble() -> None:
    deep = b'{"token":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert REDACTION.task(task(deep)).payload == b'{"token":"**********"}'


@pytest.mark.parametrize(
    "secret", ["S, S", 'S"\\S', "éS", ["S", {"a": "S]"}, "S"], {"S": ["S}", {"b": "S"}]}]
)
def test_wherever_a_payload_is_cut_no_secret_is_in_its_beginning(secret: Any) -> None:
    one = {"é": "x", "Api-Key": secret, "list": [{"password": secret}, "y"]}
    for whole in (json.dumps(one).encode(), to_json(one), to_json(one, indent=1)):
        for size in range(len(whole)):
            masked = REDACTION.task(task(whole[:size])).payload
            assert b"S" not in masked, whole[:size]
        assert REDACTION.task(task(whole)).payload.count(MASK.encode()) == 2
    typed = to_json({"note": "x", "card": {"number": "SS"}, "pins": ["S", "S"]})
    for size in range(len(typed)):
        assert b"S" not in REDACTION.task(task(typed[:size], name="order")).payload


def test_members_that_the_type_declares_as_secret_are_masked() -> None:
    schema = CATALOGUE["order"].payload_schema
    assert secret_names(schema) == {"number", "pins", "by_name", "pin"}
    card = {"number": "4111", "holder": "Ada"}
    payload = {
        "card": card,
        "cards": [card],
        "pins": ["1"],
        "by_name": {"a": "b"},
        "pin": "1",
        "note": "x",
        "again": {"card": card},
    }
    hidden = {"number": MASK, "holder": "Ada"}
    assert shown(payload, "order") == {
        "card": hidden,
        "cards": [hidden],
        "pins": MASK,
        "by_name": MASK,
        "pin": MASK,
        "note": "x",
        "again": {"card": hidden},
    }
    # Of another type it is any name.
    assert shown({"number": 7}) == {"number": 7}


def test_a_path_leads_to_a_secret_of_the_types_that_it_is_in() -> None:
    assert REDACTION.secret_step(["a", "0", "Api-Key", "b"], ["other"]) == "Api-Key"
    assert REDACTION.secret_step(["card", "number"], ["other", "order"]) == "number"
    assert REDACTION.secret_step(["card", "number"], []) == "number"
    assert REDACTION.secret_step(["card", "number"], ["other"]) is None
    assert REDACTION.secret_step(["card", "holder"], []) is None


def test_a_mask_that_comes_back_means_what_is_stored() -> None:
    stored = {"token": "t", "list": [{"password": [1, 2]}, {"password": None}], "note": MASK}
    edited = {**shown(stored), "more": 1}
    assert edited["token"] == edited["list"][0]["password"] == MASK

    restored = REDACTION.restored(edited, json.dumps(stored).encode(), "other")
    assert restored == {**stored, "more": 1}


def test_a_mask_under_a_name_of_no_secret_is_what_it_says() -> None:
    for name in ("note", "a\\q", '"', 'my "password', "\\"):
        assert REDACTION.restored({name: MASK}, b"{}", "other") == {name: MASK}


def test_names_that_json_has_to_escape_are_masked_like_any_other() -> None:
    for name in ('a"b', "a\\b", "wört", "tab\t"):
        redaction = Redaction((name,), {})
        for encoded in (to_json({name: "x"}), json.dumps({name: "x"}, ensure_ascii=False).encode()):
            assert json.loads(redaction.task(task(encoded)).payload) == {name: MASK}
        other = {f"{name}s": 1, f'x"{name}': 2, "text": f'"{name}": "x"', "at": [name, f",{name}"]}
        assert json.loads(redaction.task(task(other)).payload) == other


@pytest.mark.parametrize(
    "sent", [{"password": MASK}, {"a": {"token": MASK}}, {"list": [1, 2, {"token": MASK}]}]
)
def test_a_mask_with_nothing_behind_it_is_refused_and_named(sent: Any) -> None:
    with pytest.raises(RequestValidationError) as refused:
        REDACTION.restored(sent, b'{"list":[1],"a":7}', "other")
    [mistake] = refused.value.errors()
    assert mistake["loc"][:2] == ("body", "payload")
    assert mistake["loc"][-1] in ("password", "token")


def test_the_names_are_a_setting_and_none_switches_them_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "authorization" in Settings(_env_file=None).redacted_names
    monkeypatch.setenv("AFTERWARDS_REDACTED_NAMES", "pin, Card-Number")
    assert Settings(_env_file=None).redacted_names == ("pin", "Card-Number")
    monkeypatch.setenv("AFTERWARDS_REDACTED_NAMES", "none")
    assert Settings(_env_file=None).redacted_names == ()
    assert Redaction((), {}).task(plain := task({"password": "x"})) is plain
