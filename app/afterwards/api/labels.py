"""The labels of a task: in a body an object, in the header `Task-Labels` a dictionary of RFC 9651.

`Task-Labels: tenant=acme, plan="pro plus"`: keys, each with a token or a string.
"""

from __future__ import annotations

import re
from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.types import Scope

from afterwards.labels import MAX_LABEL_CHARACTERS, MAX_LABELS, stored

HEADER: Final = "Task-Labels"
EXAMPLE_LABELS: Final = "tenant=acme, plan=pro"

_KEY: Final = r"[a-z*][a-z0-9_.*-]*"
_WORD: Final = r"[A-Za-z*][!#-'*+.:/^-~0-9A-Z-]*"
_STRING: Final = r'(?:[ !#-\[\]-~]|\\["\\])*'
_MEMBER: Final = (
    rf"{_KEY[:-1]}{{0,{MAX_LABEL_CHARACTERS - 1}}}=({_WORD[:-1]}{{0,{MAX_LABEL_CHARACTERS - 1}}}"
    rf'|"{_STRING[:-1]}{{1,{MAX_LABEL_CHARACTERS}}}")'
)
HEADER_PATTERN: Final = rf"^({_MEMBER}(, *{_MEMBER}){{0,{MAX_LABELS - 1}}})?$"
"""The same as a regular expression of JSON Schema."""

_NAME: Final = HEADER.lower().encode()
_PAIR: Final = re.compile(rf'({_KEY})=(?:({_WORD})|"({_STRING})")'.encode())
_COMMA: Final = re.compile(rb"[ \t]*,[ \t]*")
_ESCAPED: Final = re.compile(r"\\(.)")
_SHOWN_BYTES: Final = 80


def labels_of(scope: Scope) -> str | None:
    """The labels in the request's header, as `Task.labels` has them; None: there are none.

    Raises:
        RequestValidationError: they are no labels; it names the first pair that is wrong.
    """
    lines = None
    for name, value in scope["headers"]:
        if name == _NAME:
            lines = value if lines is None else b"%b, %b" % (lines, value)
    return None if lines is None else stored(_parsed(lines.strip(b" \t")))


def _parsed(text: bytes) -> dict[str, str]:
    labels: dict[str, str] = {}
    position, pairs = 0, 0
    while position < len(text):
        found = _PAIR.match(text, position)
        pairs += 1
        if found is None:
            raise _refusal(text, position, 'is no pair like tenant=acme or plan="pro"')
        if pairs > MAX_LABELS:
            raise _refusal(text, position, f"is one too many: a task has up to {MAX_LABELS} labels")
        key, value = _read(found)
        for part, what in ((key, "key"), (value, "value")):
            if not 1 <= len(part) <= MAX_LABEL_CHARACTERS:
                allowed = f"a {what} has 1 to {MAX_LABEL_CHARACTERS} characters"
                raise _refusal(text, position, f"is no label: {allowed}")
        labels[key] = value
        comma = _COMMA.match(text, found.end())
        if comma is None and found.end() < len(text):
            raise _refusal(text, position, "is followed by something else than a comma")
        if comma is not None and comma.end() == len(text):
            raise _refusal(text, position, "is followed by a comma and no other pair")
        position = len(text) if comma is None else comma.end()
    return labels


def _read(found: re.Match[bytes]) -> tuple[str, str]:
    key, token, quoted = found.groups()
    if token is not None:
        return key.decode("ascii"), token.decode("ascii")
    return key.decode("ascii"), _ESCAPED.sub(r"\1", quoted.decode("ascii"))


def _refusal(text: bytes, position: int, problem: str) -> RequestValidationError:
    pair = text[position : position + _SHOWN_BYTES].decode("latin-1")
    quoted = pair.find('"')
    comma = pair.find(",")
    if comma >= 0 and not 0 <= quoted < comma:
        pair = pair[:comma]
    message = f"{pair.rstrip()!r} {problem}"
    return RequestValidationError([{"type": "label", "loc": ("header", HEADER), "msg": message}])
