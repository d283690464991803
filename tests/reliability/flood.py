"""As many submissions as a service will answer, over a few connections, without an HTTP library."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

CONNECTIONS = 32
BODY = json.dumps({"email": "johndoe@example.com", "message": "x" * 16_000}).encode()
REQUEST = (
    b"POST /notify/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY


def flood(address: str, submissions: int) -> Counter[int]:
    """Submit so many tasks; gives the number of answers by status."""
    return asyncio.run(_flood(address, submissions))


async def _flood(address: str, submissions: int) -> Counter[int]:
    host, _, port = address.rpartition(":")
    statuses: Counter[int] = Counter()
    left = submissions

    async def submit() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection(host, int(port))
        while left > 0:
            left -= 1
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            statuses[int(head[9:12])] += 1
        writer.close()
        await writer.wait_closed()

    async with asyncio.TaskGroup() as clients:
        for _ in range(CONNECTIONS):
            clients.create_task(submit())
    return statuses


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ValueError(head)
