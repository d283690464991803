"""Query and answer of `GET /stats/series`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from afterwards.api.schemas.fields import example

Counts = list[int | None]
Seconds = list[float | None]


class SeriesFilter(BaseModel):
    """The query of series."""

    model_config = ConfigDict(extra="forbid")

    range: Literal["1h", "24h", "30d"] = Field(
        "1h",
        description="`1h` has buckets of ten seconds, `24h` of a minute, `30d` of an hour.",
        examples=["1h"],
    )
    type: str | None = Field(None, description="Only of this task type.", examples=["notification"])


class StoredTasks(BaseModel):
    """The number of tasks stored at the end of each bucket, by status."""

    scheduled: Counts
    pending: Counts
    retrying: Counts = Field(description="`scheduled` and `pending` count them, too.")
    processing: Counts
    success: Counts
    failed: Counts
    cancelled: Counts


class SeriesDocument(BaseModel):
    """Columns of equal length, with a value for each bucket, oldest first."""

    model_config = example(
        range="1h",
        step_seconds=10,
        type=None,
        times=[1_795_860_000, 1_795_860_010, 1_795_860_020],
        submitted=[None, 12, 9],
        succeeded=[None, 11, 8],
        failed=[None, 1, 0],
        cancelled=[None, 0, 0],
        retried=[None, 2, 0],
        wait_p50=[None, 0.0012, 0.0011],
        wait_p95=[None, 0.0048, 0.0046],
        wait_p99=[None, 0.0083, 0.0082],
        run_p50=[None, 0.11, 0.1],
        run_p95=[None, 0.31, 0.29],
        run_p99=[None, 0.46, 0.45],
        tasks={
            "scheduled": [None, 4, 4],
            "pending": [None, 0, 0],
            "retrying": [None, 1, 1],
            "processing": [None, 1, 2],
            "success": [None, 310, 318],
            "failed": [None, 3, 3],
            "cancelled": [None, 0, 0],
        },
    )

    range: Literal["1h", "24h", "30d"]
    step_seconds: int = Field(ge=1, description="The length of a bucket.")
    type: str | None
    times: list[int] = Field(
        description="The beginning of each bucket, in seconds since 1970. The last is not over yet."
    )
    submitted: Counts = Field(description="Tasks accepted; null where the service was down.")
    succeeded: Counts
    failed: Counts
    cancelled: Counts
    retried: Counts = Field(description="Attempts that failed and were followed by another.")
    wait_p50: Seconds = Field(
        description="Half of the attempts begun in the bucket had waited no longer; in seconds, "
        "interpolated, null if none was begun."
    )
    wait_p95: Seconds
    wait_p99: Seconds
    run_p50: Seconds = Field(
        description="Half of the attempts that ended in the bucket ran no longer; in seconds, "
        "interpolated, null if none ended."
    )
    run_p95: Seconds
    run_p99: Seconds
    tasks: StoredTasks
