"""The query of a request: an unknown parameter is refused, none is passed over in silence."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request

from afterwards.api.checks import invalid


def require_known(request: Request, known: Collection[str], instead: str) -> None:
    """Refuse parameters that the route does not take.

    A filter that has no effect is worse than none where tasks are cancelled.

    Raises:
        RequestValidationError: it names the first.
    """
    for name in request.query_params:
        if name not in known:
            raise invalid("extra_forbidden", ("query", name), instead)


def require_once(request: Request, repeatable: Collection[str] = ()) -> None:
    """Refuse a parameter that is there twice, where only one of the two could count.

    Args:
        repeatable: parameters that all count.

    Raises:
        RequestValidationError: it names the first.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    for name in request.query_params:
        if name not in repeatable and names.count(name) > 1:
            raise invalid("repeated", ("query", name), "may be given once")


def flag_of(request: Request, name: str) -> bool:
    """A parameter that is 1, or 0 as when it is not there.

    Raises:
        RequestValidationError: it is anything else, or there twice.
    """
    given = request.query_params.getlist(name)
    if given not in ([], ["0"], ["1"]):
        raise invalid("flag", ("query", name), "must be 0 or 1")
    return given == ["1"]
