"""`promtool check metrics` has nothing to say about `/metrics`."""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.conftest import Service, wait_for
from tests.promtool import needs_promtool, promtool


@needs_promtool
def test_promtool_has_nothing_to_say(new_service: Callable[..., Service]) -> None:
    service = new_service()
    service.start()
    bounced = service.submit("/notify/", {"email": "bounce@simulator.example", "message": "m"})
    service.finished(bounced)
    task_ids = [
        service.submit("/notify/", {"email": "flaky@simulator.example", "message": "m"}),
        service.submit("/report/", {"name": "n", "details": {}}),
        service.submit("/file/", {"content": {}}),
        service.submit("/send-email", {"email": "a@example.com", "subject": "s", "body": "b"}),
    ]
    assert service.post(f"/retry-task/{bounced}").status_code == 200
    for task_id in task_ids:
        service.finished(task_id)
    text = _with_http_metrics(service)
    assert promtool("check", "metrics", stdin=text) == (0, "")
    assert service.stop() == 0


def _with_http_metrics(service: Service) -> str:
    """The text, once the workers' counts of requests have come to the registry."""

    def look() -> str | None:
        text = service.get("/metrics").text
        return text if 'route="/send-email"' in text else None

    return wait_for(look, "HTTP metrics")
