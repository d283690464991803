"""The use of keys by all workers together, in tables that a crash of the server empties (rule 26).

It is carried out by the rules, one transaction at a time, over the buckets and uses that the tables
have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from afterwards.access.meters import Left, Use
from afterwards.registry.postgresql.database import Statement, Transaction
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.key_requests import Share
from afterwards.registry.state.ledger import Ledger
from afterwards.registry.state.rules import Rules
from afterwards.registry.state.shares import Shares

_LOCK: Final[Statement] = ("SELECT pg_advisory_xact_lock(1634104425, 3)", ())
_BUCKETS: Final[Statement] = ("SELECT key, level, at FROM afterwards.buckets", ())
_USES: Final[Statement] = (
    """
SELECT u.worker, u.key, u.streams, u.waits FROM afterwards.uses AS u
JOIN afterwards.workers AS w ON w.name = u.worker WHERE NOT w.gone
""",
    (),
)
_FORGET_BUCKETS: Final = "DELETE FROM afterwards.buckets WHERE NOT key = ANY (%s)"
_PUT_BUCKETS: Final = """
INSERT INTO afterwards.buckets AS old
SELECT * FROM json_to_recordset(%s::json) AS new (key text, level float8, at float8)
ON CONFLICT (key) DO UPDATE SET level = excluded.level, at = excluded.at
WHERE (old.level, old.at) IS DISTINCT FROM (excluded.level, excluded.at)
"""
_FORGET_USES: Final = """
DELETE FROM afterwards.uses AS u WHERE u.worker = %s
    OR NOT EXISTS (SELECT FROM afterwards.workers AS w WHERE w.name = u.worker)
"""
_PUT_USES: Final = """
INSERT INTO afterwards.uses SELECT %s, key, streams, waits
FROM json_to_recordset(%s::json) AS new (key text, streams int, waits int)
"""


def share(
    transaction: Transaction, rules: Rules, worker: Worker | None, request: Share
) -> Mapping[str, Left]:
    """Take in what a worker has used, and tell what all have. `rules` know the metered keys."""
    _, buckets, uses = transaction.run([_LOCK, _BUCKETS, _USES])
    ledger = Ledger()
    forever = float("inf")
    if worker is not None and rules.ledger.find(str(worker)) is not None:
        ledger.enter(worker, forever)
    for name, key_id, streams, waits in uses:
        record = ledger.find(name) or ledger.enter(Worker.parse(name), forever)
        record.uses = {**record.uses, key_id: Use(0, streams, waits)}
    shares = Shares(rules.clock, rules.keys.find, ledger)
    shares.buckets.update({key_id: (level, at) for key_id, level, at in buckets})
    left = shares.share(worker, request)
    transaction.run(_written(shares, ledger, worker))
    return left


def _written(shares: Shares, ledger: Ledger, worker: Worker | None) -> list[Statement]:
    buckets = [
        {"key": key_id, "level": level, "at": at} for key_id, (level, at) in shares.buckets.items()
    ]
    statements: list[Statement] = [(_FORGET_BUCKETS, (list(shares.buckets),))]
    if buckets:
        statements.append((_PUT_BUCKETS, (orjson.dumps(buckets).decode(),)))
    own = None if worker is None else ledger.find(str(worker))
    if own is None:
        return statements
    uses = [
        {"key": key_id, "streams": use.streams, "waits": use.waits}
        for key_id, use in own.uses.items()
    ]
    statements.append((_FORGET_USES, (str(worker),)))
    if uses:
        statements.append((_PUT_USES, (str(worker), orjson.dumps(uses).decode())))
    return statements
