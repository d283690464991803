"""A client that sends submissions at a steady rate until its input ends, and tells what it got.

It writes a line when it is refused for the first time, and one with all statuses at its end.

python -m tests.integration.noisy HOST:PORT TOKEN REQUESTS_PER_SECOND
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import threading
import time
from collections import Counter

CONNECTIONS = 4
REFUSED = 429
BODY = json.dumps({"type": "report", "payload": {"name": "x" * 2_000, "details": {}}})


def send(address: str, token: str, per_second: float, over: threading.Event) -> Counter[int]:
    """Send over one connection after the other, each kept as long as the server keeps it."""
    connections = [http.client.HTTPConnection(address, timeout=30) for _ in range(CONNECTIONS)]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    statuses: Counter[int] = Counter()
    due = time.monotonic()
    for connection in itertools.cycle(connections):
        if over.wait(max(0.0, due - time.monotonic())):
            break
        connection.request("POST", "/tasks", BODY, headers)
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
        if answer.status == REFUSED and statuses[REFUSED] == 1:
            say("refused")
        due += 1 / per_second
    return statuses


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Send, and say how many answers of each status came."""
    address, token, per_second = sys.argv[1:]
    over = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=[over], daemon=True).start()
    say(json.dumps(send(address, token, float(per_second), over)))


def _wait_for_the_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    main()
