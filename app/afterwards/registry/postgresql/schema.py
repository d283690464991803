"""The database's tables and functions, by the version that they belong to.

Everything is in one schema of the database, `afterwards`, and named with it, so that nothing
depends on a search path, which a pooler may lose.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from afterwards.registry.postgresql import failures, marks, measures, series, statistics
from afterwards.registry.postgresql.book_tables import BOOK_TABLES
from afterwards.registry.postgresql.functions import FUNCTIONS

# Time comes from these two alone, so that tests can turn it. `elapsed` is what backoffs wait by:
# the leader sets its distance to the wall clock when that was set (rule 12).
_TIME: Final = """
CREATE TABLE afterwards.service (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    elapsed_minus_wall float8 NOT NULL DEFAULT 0,
    keys_version bigint NOT NULL DEFAULT 0,
    plans_version bigint NOT NULL DEFAULT 0,
    webhooks_version bigint NOT NULL DEFAULT 0,
    keys_required boolean NOT NULL DEFAULT false,
    schedules int NOT NULL DEFAULT 0,
    schedule_bytes bigint NOT NULL DEFAULT 0
);
INSERT INTO afterwards.service DEFAULT VALUES;
CREATE FUNCTION afterwards.wall() RETURNS float8 LANGUAGE sql VOLATILE
    AS 'SELECT extract(epoch FROM clock_timestamp())::float8';
CREATE FUNCTION afterwards.elapsed() RETURNS float8 LANGUAGE sql VOLATILE
    AS 'SELECT afterwards.wall() + elapsed_minus_wall FROM afterwards.service';
"""

# A task's row changes twice in its life, so some of each page is left free for the versions of its
# rows. `lane` is set while a claim may take the task: its executor kind, or 'suspected'. It is NULL
# for a task that waits for its concurrency key, and so no claim ever steps over those.
# `age` is the task's place among those that wait; a task that is given back keeps it.
_TASKS: Final = """
CREATE SEQUENCE afterwards.orders INCREMENT BY 100000;
CREATE SEQUENCE afterwards.ages;
CREATE TABLE afterwards.tasks (
    id uuid PRIMARY KEY,
    ord bigint NOT NULL,
    type text NOT NULL,
    executor text NOT NULL,
    created_at float8 NOT NULL,
    max_attempts int NOT NULL,
    timeout_seconds float8,
    priority smallint NOT NULL,
    idempotency_key text,
    fingerprint bytea,
    schedule text,
    owner text,
    labels text,
    parent text,
    task_group uuid,
    concurrency_key text,
    unique_key text,
    state text NOT NULL,
    deadline float8,
    run_at float8 NOT NULL,
    delay_seconds float8,
    started_at float8,
    finished_at float8,
    attempt int NOT NULL,
    attempts_used int NOT NULL,
    lost_attempts int NOT NULL,
    retries int NOT NULL,
    crowd int NOT NULL,
    generation int NOT NULL,
    webhook int NOT NULL,
    depth int NOT NULL,
    follows text,
    members int NOT NULL,
    trace text,
    callback text,
    artifacts text,
    worker text,
    cancel_requested boolean NOT NULL,
    reason text NOT NULL,
    error text,
    payload bytea NOT NULL,
    result bytea,
    lane text,
    age bigint,
    solo boolean NOT NULL DEFAULT false,
    backoff_due float8,
    told bigint
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX tasks_listed ON afterwards.tasks (type, state, created_at, ord);
CREATE INDEX tasks_by_end ON afterwards.tasks (state, finished_at, ord)
    WHERE finished_at IS NOT NULL;
CREATE INDEX tasks_claimable ON afterwards.tasks (lane, type, priority DESC, age)
    WHERE lane IS NOT NULL;
CREATE INDEX tasks_due ON afterwards.tasks (run_at, ord) WHERE state = 'scheduled';
CREATE INDEX tasks_backing_off ON afterwards.tasks (backoff_due, ord)
    WHERE state = 'scheduled' AND backoff_due IS NOT NULL;
CREATE INDEX tasks_with_deadline ON afterwards.tasks (deadline, ord)
    WHERE deadline IS NOT NULL AND state IN ('scheduled', 'pending');
CREATE INDEX tasks_held ON afterwards.tasks (worker) WHERE worker IS NOT NULL;
CREATE INDEX tasks_to_cancel ON afterwards.tasks (worker) WHERE cancel_requested;
CREATE INDEX tasks_running ON afterwards.tasks (type) WHERE state = 'processing';
CREATE INDEX tasks_solo ON afterwards.tasks (id) WHERE solo;
CREATE UNIQUE INDEX tasks_by_idempotency_key ON afterwards.tasks (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX tasks_by_unique_key ON afterwards.tasks (unique_key, coalesce(owner, ''))
    WHERE unique_key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX tasks_by_concurrency_key
    ON afterwards.tasks (type, concurrency_key, state, priority DESC, age)
    WHERE concurrency_key IS NOT NULL AND state IN ('pending', 'processing');
CREATE INDEX tasks_shown ON afterwards.tasks (type, concurrency_key)
    WHERE concurrency_key IS NOT NULL AND lane IS NOT NULL;
CREATE INDEX tasks_by_parent ON afterwards.tasks (parent) WHERE parent IS NOT NULL;
CREATE INDEX tasks_by_group ON afterwards.tasks (task_group, ord) WHERE task_group IS NOT NULL;
CREATE INDEX tasks_open_in_group ON afterwards.tasks (task_group)
    WHERE task_group IS NOT NULL AND finished_at IS NULL;
CREATE TABLE afterwards.deleted (id uuid PRIMARY KEY, at float8 NOT NULL);
CREATE INDEX deleted_by_time ON afterwards.deleted (at);
CREATE TABLE afterwards.attempts (
    task uuid NOT NULL,
    attempt int NOT NULL,
    worker text NOT NULL,
    due_at float8 NOT NULL,
    started_at float8 NOT NULL,
    finished_at float8 NOT NULL,
    run_seconds float8,
    outcome text NOT NULL,
    error text,
    generation int NOT NULL,
    crowd int NOT NULL,
    peak_memory_bytes bigint,
    cpu_seconds float8,
    log text,
    traceback text,
    PRIMARY KEY (task, attempt)
);
CREATE UNLOGGED TABLE afterwards.progress (
    task uuid PRIMARY KEY,
    attempt int NOT NULL,
    fraction float8 NOT NULL,
    message text,
    at float8 NOT NULL
);
"""

# A writer is one registry object of one process: it alone changes its rows, so that no two
# exchanges wait for each other's counts. What all have counted together is their sum; the leader
# adds up those of writers that are gone.
_COUNTS: Final = """
CREATE TABLE afterwards.counts (
    counter text NOT NULL,
    type text NOT NULL,
    label text NOT NULL,
    writer text NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (counter, type, label, writer)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.5, autovacuum_vacuum_cost_delay = 0);
"""

# `beats` grows with each beat of a worker, and its number in `alive` whenever it says so: the
# leader ends a lease by its own clock, when they have stood still for so long. They are apart,
# because a row of `workers` is locked while an exchange is written, and `alive` must not wait for
# that.
_WORKERS: Final = """
CREATE TABLE afterwards.workers (
    name text PRIMARY KEY,
    service text NOT NULL,
    connection bigint NOT NULL,
    joined boolean NOT NULL,
    draining boolean NOT NULL,
    over text,
    doomed boolean NOT NULL,
    gone boolean NOT NULL,
    generation int NOT NULL,
    beats bigint NOT NULL DEFAULT 0,
    beaten_at float8 NOT NULL DEFAULT afterwards.wall(),
    slots json NOT NULL,
    said json NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);
CREATE TABLE afterwards.alive (
    worker text PRIMARY KEY,
    number bigint NOT NULL,
    said_at float8 NOT NULL DEFAULT afterwards.wall()
) WITH (fillfactor = 20);
CREATE TABLE afterwards.probe (writer text PRIMARY KEY, at float8 NOT NULL);
CREATE TABLE afterwards.leader (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder text,
    number bigint NOT NULL DEFAULT 0,
    beats bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
INSERT INTO afterwards.leader DEFAULT VALUES;
"""

# Limits of task types, as workers have said them last, and pauses. Types without either have no
# row.
_TYPES: Final = """
CREATE TABLE afterwards.types (
    name text PRIMARY KEY,
    paused_at float8,
    max_concurrency int,
    rate_count int,
    rate_seconds float8 NOT NULL DEFAULT 1,
    per_key int NOT NULL DEFAULT 1
);
CREATE SEQUENCE afterwards.starts_order;
CREATE TABLE afterwards.starts (
    type text NOT NULL,
    number bigint NOT NULL DEFAULT nextval('afterwards.starts_order'),
    elapsed float8 NOT NULL,
    PRIMARY KEY (type, number)
);
"""

# Each transaction leaves its events as one row. Whoever follows numbers all that it sees, one after
# another of them: a task's transitions exclude each other by its row, so the ids of their rows are
# in the order of what happened to it.
_EVENTS: Final = """
CREATE TABLE afterwards.unpublished (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number int NOT NULL,
    events json NOT NULL
);
CREATE TABLE afterwards.events (
    last bigint PRIMARY KEY,
    number int NOT NULL,
    events json NOT NULL
);
CREATE TABLE afterwards.published (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch text NOT NULL,
    sequence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
INSERT INTO afterwards.published (epoch) VALUES (replace(gen_random_uuid()::text, '-', ''));
"""

MIGRATIONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: f"{_TIME}{_TASKS}{_COUNTS}{_WORKERS}{_TYPES}{_EVENTS}{BOOK_TABLES}{FUNCTIONS}"
        f"{marks.SCHEMA}{failures.SCHEMA}{measures.SCHEMA}{series.SCHEMA}{statistics.SCHEMA}"
    }
)
"""The statements that make each version of the one before it."""

VERSION: Final = max(MIGRATIONS)
