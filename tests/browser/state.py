"""Tasks of every state, for pages to show."""

from __future__ import annotations

from typing import Any, Final

from tests.integration.conftest import Service, wait_for

RIGHT_TO_LEFT: Final = "بطاقة العميل مرفوضة \u202eabc"
LONG_WORD: Final = "Donaudampfschifffahrt" * 20
REPORT: Final = {"name": "Sales", "details": {"month": "June"}}


def submitted(service: Service, type_name: str, payload: dict[str, Any], **more: Any) -> str:
    """Submit a task, and return its id."""
    answer = service.post("/tasks", {"type": type_name, "payload": payload, **more})
    assert answer.status_code == 202, answer.text
    task_id: str = answer.json()["id"]
    return task_id


def ended(service: Service, task_id: str) -> str:
    """Wait until a task is finished, and return its state."""
    answer = service.get(f"/tasks/{task_id}?wait=20")
    assert answer.status_code == 200, answer.text
    status: str = answer.json()["status"]
    return status


def filled(service: Service) -> dict[str, str]:
    """Have tasks of every state, failures, schedules, webhooks, a paused type; ids by state."""
    labels = {"tenant": "acme", "plan": "pro"}
    ids = {
        "success": submitted(service, "charge", {"customer": 1}, labels=labels),
        "failed": submitted(
            service, "charge", {"customer": 2, "card": "declined", "note": RIGHT_TO_LEFT}
        ),
        # As long as the longest run of the tests may take.
        "processing": submitted(service, "export", {"seconds": 7_200}, timeout_seconds=7_200),
        "scheduled": submitted(service, "export", {"seconds": 1}, delay_seconds=3_600),
        "cancelled": submitted(service, "export", {"seconds": 1}, delay_seconds=3_600),
    }
    others = [
        submitted(service, "charge", {"customer": n, "card": "expired", "note": LONG_WORD})
        for n in range(3, 9)
    ]
    for task_id in (ids["success"], ids["failed"], *others):
        ended(service, task_id)
    assert service.post(f"/tasks/{ids['cancelled']}/cancel").status_code == 200
    assert service.post("/task-types/report/pause").is_success
    ids["pending"] = submitted(service, "report", REPORT)
    for name, recurrence in (
        ("nightly", {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}),
        ("often", {"every_seconds": 90}),
    ):
        body = {"type": "charge", "payload": {"customer": 1}, **recurrence}
        assert service.client.put(f"/schedules/{name}", json=body).status_code == 201
    assert service.post("/schedules/often/pause").is_success
    # Nothing goes there: no report ends, and the other one is disabled.
    for name, types in (("reports", ["report"]), ("orders", [])):
        body = {"url": f"https://{name}.example/{LONG_WORD}", "types": types}
        assert service.client.put(f"/webhooks/{name}", json=body).status_code == 201
    assert service.post("/webhooks/orders/disable").is_success

    def runs() -> bool:
        return bool(service.get(f"/tasks/{ids['processing']}").json()["status"] == "processing")

    wait_for(runs, "the export runs")
    return ids
