from __future__ import annotations

import json
from typing import Any

import pytest

from afterwards.artifacts import (
    MOST_LIST_BYTES,
    Artifact,
    checked,
    decoded,
    encoded,
    require_name,
)

TASK = "2f1c7a52-6f0b-4c3e-9d57-0a5c1f4b8e11"
DIGEST = "0" * 64
PDF = Artifact("report.pdf", 4, DIGEST, 2)


@pytest.mark.parametrize("name", ["report.pdf", "Bericht für Ärzte.csv", "a", "x" * 200, "ä" * 100])
def test_a_name_that_every_file_system_takes_is_taken(name: str) -> None:
    require_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "a/b",
            "..",
            ".hidden",
            "a\\b",
            "a\nb",
            "a\0b",
            "x" * 201,
            "ä" * 101,
            "con",
            "NUL.txt",
        ),
        *("com1.log", "a.", "a ", " a", "a:b", 'a"b', "a?", "\ud800", "\u202egpj.exe", "a\u2028b"),
        None,
    ],
)
def test_any_other_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="cannot be the name of an artifact"):
        require_name(name)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.csv", "text/csv; charset=utf-8"),
        ("A.PDF", "application/pdf"),
        ("page.html", "application/octet-stream"),
        ("image.svg", "application/octet-stream"),
        ("noextension", "application/octet-stream"),
    ],
)
def test_only_harmless_names_have_a_media_type(name: str, media_type: str) -> None:
    assert Artifact(name, 0, DIGEST, 1).media_type == media_type


def test_a_list_travels_as_text() -> None:
    own = Artifact(f"{TASK}.json", 5, DIGEST, 0)
    text = encoded([PDF, own])
    assert text is not None
    assert decoded(text) == [PDF, own]
    assert checked(text.encode(), TASK, 2) == text
    assert (encoded([]), decoded(None)) == (None, [])


def test_the_longest_list_fits() -> None:
    longest = [Artifact(f"{n:03}" + "ä" * 98, 2**63, "f" * 64, 2**31) for n in range(100)]
    assert len(str(encoded(longest)).encode()) < MOST_LIST_BYTES


@pytest.mark.parametrize(
    "found",
    [
        [PDF._replace(name="../x")],
        [PDF._replace(size=-1)],
        [[*PDF._replace(name="a.txt")[:1], "4", DIGEST, 2]],
        [PDF._replace(sha256="x")],
        [PDF._replace(attempt=1)],
        [PDF._replace(attempt=0)],
        [PDF, PDF],
        [PDF._replace(name=f"{n}.txt") for n in range(101)],
        [["report.pdf"]],
        {"a": 1},
        7,
        "x" * MOST_LIST_BYTES,
    ],
)
def test_a_list_that_no_attempt_can_have_made_is_refused(found: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        checked(json.dumps(found).encode(), TASK, 2)
