"""Labels: in a body an object, in the header `Task-Labels` a dictionary of RFC 9651."""

from __future__ import annotations

import re

import pytest
from fastapi.exceptions import RequestValidationError

from afterwards.api.labels import HEADER_PATTERN, labels_of


def labelled(*lines: str) -> str | None:
    headers = [(b"host", b"x"), *((b"task-labels", line.encode("latin-1")) for line in lines)]
    return labels_of({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        ((), None),
        (("",), None),
        (("tenant=acme, plan=pro",), '{"plan":"pro","tenant":"acme"}'),
        (("tenant=acme", "plan=pro"), '{"plan":"pro","tenant":"acme"}'),
        (('  a="b, c" \t,\t*x=*y:/z ',), '{"*x":"*y:/z","a":"b, c"}'),
        ((r'a="say \"hi\" \\"',), r'{"a":"say \"hi\" \\"}'),
        # The last one counts (RFC 9651, 4.2.2).
        (("a=b, a=c",), '{"a":"c"}'),
        ((f"{'k' * 64}={'v' * 64}",), f'{{"{"k" * 64}":"{"v" * 64}"}}'),
    ],
)
def test_the_header_is_a_dictionary_of_tokens_and_strings(
    lines: tuple[str, ...], labels: str | None
) -> None:
    assert labelled(*lines) == labels
    for line in lines:
        assert labels is None or "\t" in line or re.fullmatch(HEADER_PATTERN, line.strip())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("tenant", "'tenant' is no pair"),
        ("Tenant=acme", "'Tenant=acme' is no pair"),
        ("a=b, tenant=7", "'tenant=7' is no pair"),
        ("a=b,, c=d", "'' is no pair"),
        ("a=(b c)", "'a=(b c)' is no pair"),
        ('a="b', "'a=\"b' is no pair"),
        ("a=é", "'a=é' is no pair"),
        ("a=b;c=d", "'a=b;c=d' is followed by something else"),
        ("a=b,", "'a=b' is followed by a comma"),
        ('a=""', "'a=\"\"' is no label: a value has 1 to 64"),
        (f"a={'v' * 65}", "is no label: a value has 1 to 64"),
        (f"{'k' * 65}=v", "is no label: a key has 1 to 64"),
        (", ".join(f"k{n}=v" for n in range(9)), "'k8=v' is one too many"),
    ],
)
def test_a_pair_that_is_no_label_is_named(text: str, named: str) -> None:
    with pytest.raises(RequestValidationError) as refused:
        labelled(text)

    [error] = refused.value.errors()
    assert error["loc"] == ("header", "Task-Labels")
    assert named in error["msg"]
