"""Texts put the subject first, and sentences are short: docstrings, documents, the API, errors."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from afterwards.cli import _command, _parser
from afterwards.cli.commands import ALL
from afterwards.main import create_app
from afterwards.settings import Settings

ROOT: Final = Path(__file__).parents[1]
MOST_WORDS: Final = 30
"""The bound of a sentence in documents and in texts that users see; inline code is one word."""

QUESTION: Final = re.compile(r"(Of|Who|Whose|What|Whether|How|When|Where|Nobody|Whoever)\b")
"""Openings that put a question about the thing before the thing."""

ROUNDABOUT: Final = re.compile(r"\b(nobody|whoever|whomever|would rather)\b", re.IGNORECASE)
"""Words that leave open of what or whom a sentence speaks."""

QUOTED: Final = {
    '{"email": "nobody", "message": "Hello"}': "the address of an example",
}
"""Texts that may have such words, with the reason."""

SOURCES: Final = ("app", "clients", "examples", "executors", "loadtests", "tests")
USERS_SOURCES: Final = ("app", "clients", "executors")
DOCUMENTS: Final = (
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "README.md", "SECURITY.md")),
    ROOT / "clients" / "python" / "README.md",
)

_BLOCK_ENDS: Final = re.compile(r"\n\s*\n|\n(?=\s*[-*|#>]|\s*\d+\. )|(?<=\S) *\| *")
_SENTENCE_ENDS: Final = re.compile(r"(?<=[.!?])[)*\"]*\s+")

Text = tuple[str, str]
"""Its place, and the text."""


def prose_of(markdown: str) -> str:
    """The text without blocks of code, and without the targets of links."""
    without_code = re.sub(r"(?ms)^ *```.*?^ *```$", "", markdown)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"(?m)^    .*$", "", without_code))


def sentences(text: str) -> Iterator[str]:
    for block in _BLOCK_ENDS.split(text):
        words = " ".join(re.sub(r"`[^`]*`", "code", block).split())
        yield from _SENTENCE_ENDS.split(words)


def too_long(text: str) -> list[str]:
    """The sentences with more than `MOST_WORDS` words."""
    return [
        sentence
        for sentence in sentences(text)
        if sum(bool(re.search(r"\w", word)) for word in sentence.split()) > MOST_WORDS
    ]


def is_roundabout(text: str) -> bool:
    for quoted in QUOTED:
        text = text.replace(quoted, "")
    return ROUNDABOUT.search(text) is not None


def modules(folders: tuple[str, ...]) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text())


@cache
def found(texts: Callable[[], Iterator[Text]]) -> tuple[Text, ...]:
    """The texts, which are looked for once for all tests of them."""
    return tuple(texts())


# -- docstrings --------------------------------------------------------------------------------


def docstrings() -> Iterator[Text]:
    """The strings that stand alone: docstrings, and those of attributes."""
    for path, module in modules(SOURCES):
        for node in ast.walk(module):
            body = getattr(node, "body", None)
            for statement in body if isinstance(body, list) else ():
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    text = statement.value.value
                    if isinstance(text, str):
                        yield f"{path.relative_to(ROOT)}:{statement.lineno}", text.strip()


def test_docstrings_begin_with_their_subject() -> None:
    assert [text for text in found(docstrings) if QUESTION.match(text[1])] == []


def test_docstrings_say_of_what_they_speak() -> None:
    roundabout = [text for text in found(docstrings) if is_roundabout(text[1])]
    # Tests may play with words: they are read by those who change the code.
    assert [text for text in roundabout if not text[0].startswith("tests/")] == []


# -- documents ---------------------------------------------------------------------------------


def documents() -> Iterator[Text]:
    for path in DOCUMENTS:
        yield str(path.relative_to(ROOT)), prose_of(path.read_text())
    unreleased = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    yield "CHANGELOG.md", prose_of(unreleased)


# -- texts that users see ----------------------------------------------------------------------


def described(document: Any, place: str = "#") -> Iterator[Text]:
    """The summaries and descriptions in a part of OpenAPI's document."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in {"summary", "description"} and isinstance(value, str):
                yield f"{place}/{name}", value
            else:
                yield from described(value, f"{place}/{name}")
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from described(value, f"{place}/{number}")


def openapi() -> Iterator[Text]:
    yield from described(create_app(Settings()).openapi())


def settings() -> Iterator[Text]:
    for name, field in Settings.model_fields.items():
        yield name, str(field.description)


def helps() -> Iterator[Text]:
    """The help of each command and of its arguments."""
    for name in ALL:
        parser = _parser(name, _command(name))
        subparsers = next(
            action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
        )
        own = subparsers.choices[name]
        yield name, str(own.description)
        for action in own._actions:
            yield f"{name} {action.dest}", str(action.help)


SPEAKERS: Final = frozenset({"Problem", "fail", "invalid", "refuse"})
"""Functions besides exceptions whose arguments are told to users."""


def _words_in(node: ast.AST) -> Iterator[str]:
    """The text of an expression, with one word for each value in it."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else "value" for part in node.values
        )
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _words_in(child)


def errors() -> Iterator[Text]:
    """The texts of raised errors, of problem documents, and of errors that build their own."""
    for path, module in modules(USERS_SOURCES):
        for node in ast.walk(module):
            told: list[ast.expr | ast.stmt] = []
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                told += [*node.exc.args, *(keyword.value for keyword in node.exc.keywords)]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                told += node.args if name in SPEAKERS else []
            elif isinstance(node, ast.FunctionDef) and node.name == "__str__":
                told += [part for part in node.body if isinstance(part, ast.Return)]
            for argument in told:
                for text in _words_in(argument):
                    yield f"{path.relative_to(ROOT)}:{argument.lineno}", text


PUBLIC: Final[dict[str, Callable[[], Iterator[Text]]]] = {
    "documents": documents,
    "openapi": openapi,
    "settings": settings,
    "helps": helps,
    "errors": errors,
}


@pytest.mark.parametrize("texts", PUBLIC.values(), ids=list(PUBLIC))
def test_public_texts_have_short_sentences(texts: Callable[[], Iterator[Text]]) -> None:
    assert [(place, long) for place, text in found(texts) for long in too_long(text)] == []


@pytest.mark.parametrize("texts", PUBLIC.values(), ids=list(PUBLIC))
def test_public_texts_say_of_what_they_speak(texts: Callable[[], Iterator[Text]]) -> None:
    assert [text for text in found(texts) if is_roundabout(text[1])] == []


@pytest.mark.parametrize("texts", [openapi, settings, helps], ids=["openapi", "settings", "helps"])
def test_descriptions_begin_with_their_subject(texts: Callable[[], Iterator[Text]]) -> None:
    assert [text for text in found(texts) if QUESTION.match(text[1])] == []
