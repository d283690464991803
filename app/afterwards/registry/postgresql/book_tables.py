"""The tables of what the registry keeps besides tasks: schedules, webhooks, keys, activity."""

from __future__ import annotations

from typing import Final

# The number of schedules and their bytes are in `afterwards.service`: each new task's room goes by
# them. `held_until` and `searched_until` tell late due times from missed ones, whoever leads.
_SCHEDULES: Final = """
CREATE TABLE afterwards.schedules (
    name text COLLATE "C" PRIMARY KEY,
    definition json NOT NULL,
    payload bytea NOT NULL,
    next_due float8,
    last_due float8,
    last_task_id text,
    last_skipped float8,
    held_until float8,
    searched_until float8
) WITH (fillfactor = 80);
CREATE INDEX schedules_due ON afterwards.schedules (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX tasks_of_schedules ON afterwards.tasks (idempotency_key COLLATE "C")
    WHERE schedule IS NOT NULL AND idempotency_key IS NOT NULL;
"""

# Notices have an order within a transaction: of two transactions at once, either may be the first.
_WEBHOOKS: Final = """
CREATE TABLE afterwards.webhooks (
    name text PRIMARY KEY,
    id text NOT NULL,
    url text NOT NULL,
    secrets json NOT NULL,
    events text[] NOT NULL,
    types text[] NOT NULL,
    labels text[] NOT NULL,
    created_at float8 NOT NULL,
    failing_since float8,
    disabled_since float8,
    disabled_because text
);
CREATE TABLE afterwards.notices (
    receiver text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    task text NOT NULL,
    payload bytea NOT NULL,
    callback text,
    PRIMARY KEY (receiver, number)
);
CREATE INDEX tasks_to_receivers ON afterwards.tasks (concurrency_key COLLATE "C")
    WHERE type = 'webhook' AND finished_at IS NULL;
"""

# Each change that raises `keys_version` has a row of the ids that it is about, for workers that
# know the version before it. Use is forgotten with the server: buckets are full then.
_KEYS: Final = """
CREATE TABLE afterwards.keys (
    id text PRIMARY KEY,
    name text NOT NULL,
    principal text NOT NULL,
    said json NOT NULL,
    created_at float8 NOT NULL,
    expires_at float8,
    revoked_at float8,
    last_used_at float8,
    replaced_by text,
    digest bytea NOT NULL
);
CREATE TABLE afterwards.sessions (
    digest bytea PRIMARY KEY,
    key_id text NOT NULL,
    opened_at float8 NOT NULL,
    ends_at float8 NOT NULL
);
CREATE TABLE afterwards.key_changes (
    since bigint PRIMARY KEY,
    version bigint NOT NULL,
    keys text[] NOT NULL,
    sessions bytea[] NOT NULL
);
CREATE INDEX tasks_owned ON afterwards.tasks (owner)
    WHERE owner IS NOT NULL AND finished_at IS NULL;
CREATE UNLOGGED TABLE afterwards.buckets (
    key text PRIMARY KEY,
    level float8 NOT NULL,
    at float8 NOT NULL
);
CREATE UNLOGGED TABLE afterwards.uses (
    worker text NOT NULL,
    key text NOT NULL,
    streams int NOT NULL,
    waits int NOT NULL,
    PRIMARY KEY (worker, key)
);
"""

_ACTIVITY: Final = """
CREATE TABLE afterwards.activity (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at float8 NOT NULL,
    verb text NOT NULL,
    object text NOT NULL,
    name text NOT NULL,
    affected bigint NOT NULL,
    outcome text NOT NULL,
    detail text,
    actor text,
    request_id text,
    address text,
    bulk text,
    key_id text
);
CREATE INDEX activity_by_time ON afterwards.activity (at);
CREATE UNIQUE INDEX activity_by_bulk ON afterwards.activity (bulk) WHERE bulk IS NOT NULL;
"""

BOOK_TABLES: Final = f"{_SCHEDULES}{_WEBHOOKS}{_KEYS}{_ACTIVITY}"
