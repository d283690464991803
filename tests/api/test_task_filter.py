"""Cursors of lists of tasks: every position that a registry gives comes back."""

from __future__ import annotations

import pytest
from fastapi.exceptions import RequestValidationError

from afterwards.api.cursors import cursor_of
from afterwards.api.task_filter import page_cursor, page_end
from afterwards.registry.protocol.filters import Order, PageEnd


@pytest.mark.parametrize(
    ("position", "order"),
    [
        (7, Order.CREATED),
        ((1_750_000_000.25, 7), Order.CREATED),
        ((1_750_000_000.0, 7), Order.FINISHED),
        ((1e9, 2**63 - 1), Order.DUE),
    ],
)
def test_a_position_comes_back_from_its_cursor(position: PageEnd, order: Order) -> None:
    assert page_end(page_cursor(position, order), order) == position


@pytest.mark.parametrize("order", Order)
def test_a_cursor_of_a_list_in_another_order_is_refused(order: Order) -> None:
    for other in Order:
        if other is not order:
            with pytest.raises(RequestValidationError):
                page_end(page_cursor((1e9, 7), other), order)
    with pytest.raises(RequestValidationError):
        page_end(cursor_of("c1e9"), order)
