from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from afterwards.task_types.report import REPORT
from afterwards.testing import RecordingContext, run_once

RESULT = {"message": "Report generated"}


def csv_of(details: dict[str, Any]) -> str:
    context = RecordingContext()
    report = {"name": "Sales", "details": details, "format": "csv"}
    assert run_once(REPORT, report, context) == RESULT
    [(name, content)] = context.artifacts.items()
    assert name == "report.csv"
    return content.decode()


def test_without_a_format_there_is_no_file() -> None:
    context = RecordingContext()
    assert run_once(REPORT, {"name": "Sales", "details": {"month": "June"}}, context) == RESULT
    assert context.artifacts == {}


def test_each_detail_is_a_row() -> None:
    found = csv_of({"month": "June", "asia": {"tea": [1, 2.5]}, "ok": True, "no": None, "x": {}})
    rows = (
        "detail,value",
        "month,June",
        "asia.tea.0,1",
        "asia.tea.1,2.5",
        "ok,true",
        "no,",
        "x,{}",
    )
    assert found == "".join(f"{row}\r\n" for row in rows)


def test_text_is_quoted_where_it_has_to_be() -> None:
    assert csv_of({"a,b": 'say "ü"\n'}) == 'detail,value\r\n"a,b","say ""ü""\n"\r\n'


@pytest.mark.parametrize("first", "=+-@\t")
def test_no_text_is_a_formula_to_a_spreadsheet(first: str) -> None:
    found = csv_of({f"{first}key": f"{first}cmd|' /C calc'!A0", "number": -1})
    assert found.splitlines()[1:] == [f"'{first}key,'{first}cmd|' /C calc'!A0", "number,-1"]


def test_another_format_is_refused() -> None:
    with pytest.raises(ValidationError, match="csv"):
        run_once(REPORT, {"name": "Sales", "details": {}, "format": "pdf"})
