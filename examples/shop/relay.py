"""Hands the tasks of the outbox over to the service: `python -m shop.relay`, a process of its own.

It may be killed at any moment. The next one submits the rows that are left under the same keys.
"""

from __future__ import annotations

import json
import sys
import time

from afterwards_client import Client, ConnectionFailed, Invalid, Unavailable

from .database import Database
from .settings import ShopSettings


def relay(database: Database, client: Client) -> None:
    """Submit each row, and delete it once the service has the task on its disk."""
    for row in database.rows("SELECT id, task FROM outbox WHERE refused IS NULL"):
        row_id, task = row["id"], json.loads(row["task"])
        try:
            client.submit(**task, idempotency_key=row_id)
        except Invalid as error:
            # It stays for people to look at, and does not hold up the others.
            change, values = "UPDATE outbox SET refused = ? WHERE id = ?", [str(error), row_id]
        else:
            change, values = "DELETE FROM outbox WHERE id = ?", [row_id]
        with database.transaction() as connection:
            connection.execute(change, values)


def main() -> None:
    """Look into the outbox again and again."""
    settings = ShopSettings()
    database = Database(settings.database)
    token = settings.service_token.get_secret_value()
    with Client(settings.service_url, token=token) as client:
        while True:
            try:
                relay(database, client)
            except (ConnectionFailed, Unavailable) as error:
                sys.stderr.write(f"relay: {error}\n")
            time.sleep(0.2)


if __name__ == "__main__":
    main()
