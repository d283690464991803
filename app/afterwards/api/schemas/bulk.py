"""The verbs for many tasks: bodies that say which tasks, and answers that say what became of it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlencode

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from afterwards.api.schemas.error_groups import ErrorId
from afterwards.api.schemas.fields import EXAMPLE_ID, Time, example
from afterwards.api.schemas.requests import WHOLE, Key, Sent
from afterwards.api.schemas.task_filter import (
    ERROR,
    GROUP,
    LABEL,
    MAX_SEARCH_CHARACTERS,
    MAX_STATUSES,
    PARENT,
    SEARCH,
    WITH_KEY,
    Label,
    RelatedId,
)
from afterwards.api.times import EXAMPLE_TIME, shown_time
from afterwards.labels import MAX_LABELS, VALUE_PATTERN

MAX_BULK_TASKS: Final = 10_000
MAX_BULK_IDS: Final = 1_000

_OPTIONS: Final = frozenset({"ids", "dry_run", "limit", "payload", "new_type"})
"""Members that say nothing of what a task has to be like."""

_TIMES: Final = frozenset({"created_after", "created_before", "finished_after", "finished_before"})
_IDS_SHOWN: Final = 10

Ids = Annotated[list[str], Field(min_length=1, max_length=MAX_BULK_IDS)]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _OneOrMore:
    """Has the schema of a list say that one member may stand without the list."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        return {"anyOf": [schema["items"], schema]}


_ONE_OR_MORE: Final = (BeforeValidator(_listed), _OneOrMore())
_STATUSES: Final = (Field(min_length=1, max_length=MAX_STATUSES), *_ONE_OR_MORE)


class BulkSelection(Sent):
    """Which tasks a bulk verb is for: those with these ids, or those that match."""

    everything: ClassVar[bool] = True
    """A body without ids and conditions stands for all tasks that the verb can be for."""

    status: Any
    ids: Ids | None = Field(
        None, description="Only tasks with these ids. Not together with members of the filter."
    )
    type: Annotated[list[str], *_STATUSES] = Field(
        default_factory=list,
        description="Only tasks of one of these types. A single one may stand without a list.",
    )
    label: Annotated[list[Label], Field(min_length=1, max_length=MAX_LABELS), *_ONE_OR_MORE] = (
        Field(default_factory=list, description=LABEL)
    )
    concurrency_key: Key | None = Field(None, description=WITH_KEY.format("concurrency"))
    unique_key: Key | None = Field(None, description=WITH_KEY.format("unique"))
    q: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_SEARCH_CHARACTERS,
        pattern=VALUE_PATTERN,
        description=SEARCH,
    )
    created_after: Time | None = Field(None, description="Only tasks accepted then or later.")
    created_before: Time | None = Field(None, description="Only tasks accepted before this time.")
    finished_after: Time | None = Field(None, description="Only tasks finished then or later.")
    finished_before: Time | None = Field(None, description="Only tasks finished before this time.")
    error: ErrorId | None = Field(None, description=ERROR)
    parent: RelatedId | None = Field(None, description=PARENT)
    group: RelatedId | None = Field(None, description=GROUP)
    dry_run: bool = Field(False, description="Only count the tasks, change nothing.")
    limit: Annotated[int, Field(ge=1, le=MAX_BULK_TASKS), WHOLE] = Field(
        1_000, description="At most so many tasks, the newest first."
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        conditions = self.conditions()
        if self.ids is not None and conditions:
            raise ValueError("send ids or a filter, not both")
        if self.ids is None and not conditions and not self.everything:
            raise ValueError("say which tasks: send ids or a member of the filter")
        empty = sorted(self.model_fields_set - _OPTIONS) if not conditions else []
        if self.ids is None and empty:
            # A client whose variable was empty does not mean all tasks.
            raise ValueError(f"{empty[0]} is null: send a value, or leave it out for all tasks")
        return self

    def conditions(self) -> dict[str, Any]:
        """The members of the filter that were sent."""
        return self.model_dump(
            mode="json", include=self.model_fields_set - _OPTIONS, exclude_none=True
        )

    def as_text(self) -> str:
        """The ids, or what was sent of the filter, for people: never a payload."""
        if self.ids is not None:
            more = len(self.ids) - _IDS_SHOWN
            return ", ".join(self.ids[:_IDS_SHOWN]) + (f" and {more} more" if more > 0 else "")
        conditions = self.conditions()
        for name in conditions.keys() & _TIMES:
            conditions[name] = shown_time(conditions[name])
        return urlencode(conditions, doseq=True) or "all"

    def changes_as_text(self) -> str | None:
        """The changes to the tasks, for people; None: there are none."""
        return None


class RetrySelection(BulkSelection):
    """The failed or cancelled tasks to retry."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"type": "report", "created_after": EXAMPLE_TIME}]}
    )

    status: Annotated[list[Literal["failed", "cancelled"]], *_STATUSES] = Field(
        ["failed"], description="With `ids`: both."
    )
    payload: dict[str, Any] | None = Field(
        None, description="Replaces the payload of each task. Without it, the payloads stay."
    )
    new_type: str | None = Field(
        None,
        description="The task type to move to. Tasks whose payload it does not take are skipped.",
    )

    def changes_as_text(self) -> str | None:
        parts = [] if self.payload is None else ["another payload"]
        if self.new_type is not None:
            parts.append(f"moved to {self.new_type}")
        return ", ".join(parts) or None


class CancelSelection(BulkSelection):
    """The unfinished tasks to cancel."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"type": "report", "status": ["scheduled", "pending"]}]}
    )

    status: Annotated[
        list[Literal["scheduled", "pending", "retrying", "processing"]], *_STATUSES
    ] = Field(["scheduled", "pending", "processing"])


class RunSelection(BulkSelection):
    """The scheduled tasks to run now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"type": "report"}]})

    status: Annotated[list[Literal["scheduled", "retrying"]], *_STATUSES] = Field(["scheduled"])


class DeleteSelection(BulkSelection):
    """The finished tasks to delete. Ids or a condition are needed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [EXAMPLE_ID]}]})

    everything: ClassVar[bool] = False

    status: Annotated[list[Literal["success", "failed", "cancelled"]], *_STATUSES] = Field(
        ["success", "failed", "cancelled"]
    )


class _BulkAnswer(BaseModel):
    dry_run: bool
    matched: int = Field(
        ge=0, description="The number of tasks taken up; in a dry run, of matching tasks."
    )
    skipped: int = Field(
        ge=0,
        description=(
            "Tasks that had changed meanwhile, ids of no such task, and tasks that do not fit the "
            "new type or payload."
        ),
    )
    more: bool = Field(description="True if more tasks match.")
    interrupted: str | None = Field(
        description="The reason why the call ended early, with `more` left to do; else null."
    )


class BulkRetry(_BulkAnswer):
    """The outcome of a bulk retry."""

    model_config = example(
        dry_run=False, matched=12, retried=12, skipped=0, more=False, interrupted=None
    )

    retried: int = Field(ge=0)


class BulkCancel(_BulkAnswer):
    """The outcome of a bulk cancellation."""

    model_config = example(
        dry_run=False,
        matched=12,
        cancelled=11,
        requested=1,
        skipped=0,
        more=False,
        interrupted=None,
    )

    cancelled: int = Field(ge=0)
    requested: int = Field(ge=0, description="Running tasks whose workers were asked to stop them.")


class BulkRun(_BulkAnswer):
    """The outcome of running many tasks now."""

    model_config = example(
        dry_run=False, matched=12, run=12, skipped=0, more=False, interrupted=None
    )

    run: int = Field(ge=0)


class BulkDelete(_BulkAnswer):
    """The outcome of a bulk deletion."""

    model_config = example(
        dry_run=False, matched=12, deleted=12, skipped=0, more=False, interrupted=None
    )

    deleted: int = Field(ge=0)
