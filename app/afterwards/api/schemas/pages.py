"""The documentation of lists that come in pages."""

from __future__ import annotations

from typing import Any

from afterwards.api.schemas.fields import header
from afterwards.api.schemas.problems import answers


def page_answers(cursor: str, most: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that lists pages, for its `responses`.

    Args:
        cursor: of the example's next page.
        most: how long a page may be at most.
    """
    limit = f"#/limit: Input should be less than or equal to {most}"
    return answers(
        422,
        503,
        headers_of={200: {"Link": header("The next page.", f'<?cursor={cursor}>; rel="next"')}},
        said={422: ("The query is not valid.", limit)},
    )
