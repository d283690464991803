"""The journal's tables, and how those of earlier versions become them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

APPLICATION_ID: Final = 0x62677473
"""Marks a SQLite file as a journal of this program. It stays, so that every version is opened."""

VERSION: Final = 7

# Plans: pauses, the starts that rates go by, schedules (see `afterwards.registry.journal.plans`).
# Due times move often and definitions hardly ever, and those have payloads, so they are in tables
# of their own. The migration to version 3 makes them, too: whoever changes them for a later version
# leaves these to it, because what a migration makes stays as it was.
_PLANS: Final = """
CREATE TABLE task_types (name TEXT PRIMARY KEY, paused_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE starts (
    type TEXT NOT NULL, number INTEGER NOT NULL, wall REAL NOT NULL, elapsed REAL NOT NULL,
    PRIMARY KEY (type, number)
) WITHOUT ROWID;
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    cron TEXT,
    every_seconds REAL,
    timezone TEXT NOT NULL,
    catch_up INTEGER NOT NULL,
    created_at REAL NOT NULL,
    paused INTEGER NOT NULL,
    type TEXT NOT NULL,
    executor TEXT NOT NULL,
    payload BLOB NOT NULL,
    priority INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    timeout_seconds REAL
);
CREATE TABLE due_times (
    name TEXT PRIMARY KEY, next_due REAL, last_due REAL, last_task_id TEXT
) WITHOUT ROWID;
"""

# What happened in the past, by spans of time (see `afterwards.registry.journal.series_rows`).
_SERIES: Final = """
CREATE TABLE series (
    step INTEGER NOT NULL, at INTEGER NOT NULL, type TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (step, at, type)
) WITHOUT ROWID;
"""

# How many tasks are stored that wait for a further attempt after one that failed is counted from
# version 5 on, in the table of all counts.
_COUNT_RETRYING: Final = """
INSERT INTO counts
    SELECT 'retrying', type, '', count(*) FROM tasks INDEXED BY tasks_by_type_and_state
    WHERE state IN ('scheduled', 'pending') AND attempts_used > 0 GROUP BY type;
"""

# What people have done by hand. A call for many tasks is one row, found by its id as it goes on.
_ACTIVITY: Final = """
CREATE TABLE activity (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    verb TEXT NOT NULL,
    object TEXT NOT NULL,
    name TEXT NOT NULL,
    affected INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT,
    actor TEXT,
    request_id TEXT,
    address TEXT,
    bulk TEXT
);
CREATE UNIQUE INDEX activity_by_bulk ON activity (bulk) WHERE bulk IS NOT NULL;
"""

# What finds tasks by their labels: each key, and each key with its value. Only tasks that have
# labels have rows. Those of schedules stand beside `schedules`, which an earlier migration makes.
_LABELS: Final = """
CREATE TABLE labels (
    pair TEXT NOT NULL, ord INTEGER NOT NULL, PRIMARY KEY (pair, ord)
) WITHOUT ROWID;
CREATE TABLE schedule_labels (name TEXT PRIMARY KEY, labels TEXT NOT NULL) WITHOUT ROWID;
"""

# Tracebacks are large and seldom asked for, and an attempt's row is read with its task.
_TRACEBACKS: Final = """
CREATE TABLE tracebacks (
    ord INTEGER NOT NULL, attempt INTEGER NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (ord, attempt)
) WITHOUT ROWID;
"""

# Only tasks whose submission was traced have a row.
_TRACES: Final = """
CREATE TABLE traces (ord INTEGER PRIMARY KEY, trace TEXT NOT NULL);
"""

# Which tasks are failed now, by their order, and in which group of errors; what there is of each
# group. The index ends with the order: it lists a group's tasks, the newest first.
_ERRORS: Final = """
CREATE TABLE failures (ord INTEGER PRIMARY KEY, error_id BLOB NOT NULL);
CREATE INDEX failures_by_error ON failures (error_id);
CREATE TABLE error_groups (
    id BLOB PRIMARY KEY,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    number INTEGER NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    hour INTEGER NOT NULL,
    hours BLOB NOT NULL
) WITHOUT ROWID;
"""

# What lists tasks by the time of their end, but for those that succeeded, which are most of all: an
# entry for each of them would cost all of them too much.
_ENDS: Final = """
CREATE INDEX tasks_by_end ON tasks (state, finished_at)
    WHERE state = 'failed' OR state = 'cancelled';
"""

# Who may do what (see `afterwards.registry.journal.keys`), and with which key something was done by
# hand. A key's digest and that of a session's cookie are hashes of secrets that are stored nowhere.
_KEYS: Final = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    principal TEXT NOT NULL,
    role TEXT,
    grants TEXT NOT NULL,
    types TEXT,
    labels TEXT,
    payloads INTEGER NOT NULL,
    limits TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL,
    last_used_at REAL,
    replaced_by TEXT,
    digest BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE sessions (
    digest BLOB PRIMARY KEY, key_id TEXT NOT NULL, opened_at REAL NOT NULL, ends_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE keys_state (
    one INTEGER PRIMARY KEY, version INTEGER NOT NULL, required INTEGER NOT NULL
);
ALTER TABLE activity ADD COLUMN key_id TEXT;
"""

# The keys under which there may be sealed values, each with the journal's secret sealed by it; and
# how far the tasks are that are sealed anew (see `afterwards.registry.journal.encryption`).
_ENCRYPTION: Final = """
CREATE TABLE encryption_keys (id TEXT PRIMARY KEY, secret BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE encryption (
    one INTEGER PRIMARY KEY,
    writer TEXT,
    next_ord INTEGER,
    last_ord INTEGER NOT NULL,
    unreadable INTEGER NOT NULL
);
"""

# What finds the children of a task, and the members of a group. Most tasks are neither.
_FAMILIES: Final = """
CREATE INDEX tasks_by_parent ON tasks (parent) WHERE parent IS NOT NULL;
CREATE INDEX tasks_by_group ON tasks (task_group) WHERE task_group IS NOT NULL;
"""

# What finds tasks by their keys. Most tasks have none. Schedules' keys stand beside `schedules`, as
# their labels do, and a schedule remembers the due time that it skipped last.
_TASK_KEYS: Final = """
CREATE INDEX tasks_by_concurrency_key ON tasks (concurrency_key) WHERE concurrency_key IS NOT NULL;
CREATE INDEX tasks_by_unique_key ON tasks (unique_key) WHERE unique_key IS NOT NULL;
CREATE TABLE schedule_keys (
    name TEXT PRIMARY KEY, concurrency_key TEXT, unique_key TEXT
) WITHOUT ROWID;
ALTER TABLE due_times ADD COLUMN last_skipped REAL;
"""

# Only tasks that have made files have a row. And the tasks whose attempts may have left files that
# have to be removed, up to which attempt; `kept` is the one whose files stay (0: none does). NULL:
# the task is gone, and all of them go.
_ARTIFACTS: Final = """
CREATE TABLE artifacts (ord INTEGER PRIMARY KEY, list TEXT NOT NULL);
CREATE TABLE removals (
    id BLOB PRIMARY KEY, attempt INTEGER NOT NULL, kept INTEGER
) WITHOUT ROWID;
"""

# Receivers of notices, the notices that have not become deliveries yet, and callbacks: only tasks
# that have one have a row.
_WEBHOOKS: Final = """
CREATE TABLE webhooks (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    url TEXT NOT NULL,
    secrets TEXT NOT NULL,
    events TEXT NOT NULL,
    types TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at REAL NOT NULL,
    failing_since REAL,
    disabled_since REAL,
    disabled_because TEXT
) WITHOUT ROWID;
CREATE TABLE notices (
    receiver TEXT NOT NULL,
    number INTEGER NOT NULL,
    task TEXT NOT NULL,
    payload BLOB NOT NULL,
    callback TEXT,
    PRIMARY KEY (receiver, number)
) WITHOUT ROWID;
CREATE TABLE callbacks (ord INTEGER PRIMARY KEY, callback TEXT NOT NULL);
"""

# Which schedules task modules declare, or have declared once. It stands beside `schedules`, too.
_SCHEDULE_MODULES: Final = """
CREATE TABLE schedule_modules (
    name TEXT PRIMARY KEY, module TEXT NOT NULL, gone INTEGER NOT NULL
) WITHOUT ROWID;
"""

# Payloads have a table of their own: SQLite writes a changed row whole, and a task's row changes
# at least twice while its payload hardly ever does. Results come last for a like reason: what
# stands behind a large value in a row cannot be read without it. The index by type and state ends
# with the order, as every index does: it finds the unfinished tasks at the start, and every list of
# tasks, without reading the others. An attempt has a row once it has ended; the running one is told
# by its task's row.
SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE tasks (
    ord INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    type TEXT NOT NULL,
    executor TEXT NOT NULL,
    created_at REAL NOT NULL,
    max_attempts INTEGER NOT NULL,
    timeout_seconds REAL,
    priority INTEGER NOT NULL,
    idempotency_key TEXT,
    fingerprint BLOB,
    schedule TEXT,
    owner TEXT,
    labels TEXT,
    parent TEXT,
    task_group TEXT,
    concurrency_key TEXT,
    unique_key TEXT,
    state TEXT NOT NULL,
    deadline REAL,
    run_at REAL NOT NULL,
    delay_seconds REAL,
    started_at REAL,
    finished_at REAL,
    attempt INTEGER NOT NULL,
    attempts_used INTEGER NOT NULL,
    lost_attempts INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    crowd INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    webhook INTEGER NOT NULL DEFAULT 0,
    depth INTEGER NOT NULL DEFAULT 0,
    follows TEXT,
    members INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    cancel_requested INTEGER NOT NULL,
    reason TEXT NOT NULL,
    error TEXT,
    result BLOB
);
CREATE UNIQUE INDEX tasks_by_id ON tasks (id);
CREATE INDEX tasks_by_type_and_state ON tasks (type, state);
CREATE UNIQUE INDEX tasks_by_idempotency_key ON tasks (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE TABLE payloads (ord INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE attempts (
    ord INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    worker TEXT NOT NULL,
    due_at REAL NOT NULL,
    started_at REAL NOT NULL,
    finished_at REAL NOT NULL,
    run_seconds REAL,
    outcome TEXT NOT NULL,
    error TEXT,
    generation INTEGER NOT NULL DEFAULT 0,
    crowd INTEGER NOT NULL DEFAULT 0,
    peak_memory_bytes INTEGER,
    cpu_seconds REAL,
    log TEXT,
    PRIMARY KEY (ord, attempt)
) WITHOUT ROWID;
CREATE TABLE counts (
    counter TEXT NOT NULL, type TEXT NOT NULL, label TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (counter, type, label)
) WITHOUT ROWID;
CREATE TABLE deleted (id BLOB PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX deleted_by_time ON deleted (at);
CREATE TABLE probe (one INTEGER PRIMARY KEY, at REAL NOT NULL);
{_PLANS}
{_SERIES}
{_ACTIVITY}
{_LABELS}
{_TRACEBACKS}
{_ERRORS}
{_ENDS}
{_KEYS}
{_TRACES}
{_ENCRYPTION}
{_FAMILIES}
{_TASK_KEYS}
{_ARTIFACTS}
{_WEBHOOKS}
{_SCHEDULE_MODULES}
"""

MIGRATIONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: """
ALTER TABLE tasks ADD COLUMN idempotency_key TEXT;
ALTER TABLE tasks ADD COLUMN fingerprint BLOB;
CREATE UNIQUE INDEX tasks_by_idempotency_key ON tasks (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
""",
        # The times of creation become as what is accepted from now on has them: in order.
        # Nothing was ever written to the schedules of version 2.
        2: f"""
ALTER TABLE tasks ADD COLUMN schedule TEXT;
ALTER TABLE tasks ADD COLUMN deadline REAL;
DROP INDEX tasks_unfinished;
CREATE INDEX tasks_by_type_and_state ON tasks (type, state);
UPDATE tasks SET created_at = latest FROM (
    SELECT ord AS late, latest FROM (
        SELECT ord, created_at, max(created_at) OVER (ORDER BY ord) AS latest FROM tasks
    ) WHERE latest > created_at
) WHERE ord = late;
CREATE TABLE attempts (
    ord INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    worker TEXT NOT NULL,
    due_at REAL NOT NULL,
    started_at REAL NOT NULL,
    finished_at REAL NOT NULL,
    run_seconds REAL,
    outcome TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (ord, attempt)
) WITHOUT ROWID;
DROP TABLE schedules;
{_PLANS}
""",
        3: """
ALTER TABLE tasks ADD COLUMN owner TEXT;
ALTER TABLE tasks ADD COLUMN labels TEXT;
ALTER TABLE tasks ADD COLUMN parent TEXT;
ALTER TABLE tasks ADD COLUMN task_group TEXT;
ALTER TABLE tasks ADD COLUMN concurrency_key TEXT;
ALTER TABLE tasks ADD COLUMN unique_key TEXT;
ALTER TABLE tasks ADD COLUMN crowd INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN webhook INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN crowd INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN peak_memory_bytes INTEGER;
ALTER TABLE attempts ADD COLUMN cpu_seconds REAL;
ALTER TABLE attempts ADD COLUMN log TEXT;
""",
        4: f"""
{_COUNT_RETRYING}
{_SERIES}
{_ACTIVITY}
{_LABELS}
{_TRACEBACKS}
{_ERRORS}
{_ENDS}
INSERT INTO labels
    SELECT label.key, ord FROM tasks, json_each(labels) AS label WHERE labels IS NOT NULL
    UNION ALL
    SELECT label.key || '=' || label.value, ord
    FROM tasks, json_each(labels) AS label WHERE labels IS NOT NULL;
""",
        5: f"{_KEYS}{_TRACES}{_ENCRYPTION}",
        6: f"""
ALTER TABLE tasks ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN follows TEXT;
ALTER TABLE tasks ADD COLUMN members INTEGER NOT NULL DEFAULT 0;
{_FAMILIES}
{_TASK_KEYS}
{_ARTIFACTS}
{_WEBHOOKS}
{_SCHEDULE_MODULES}
""",
    }
)
"""The statements that make the next version of each."""
