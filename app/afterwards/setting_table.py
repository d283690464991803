"""The table of what can be set, in the order of `docs/configuration.md`.

`afterwards.settings` reads it, and derives from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from afterwards.logs import LogFormat, LogLevel
from afterwards.setting_sources import ENV_FILE, PREFIX
from afterwards.setting_types import (
    DAY,
    Address,
    BuiltinTypes,
    Count,
    DaskAddress,
    DelaySeconds,
    Directory,
    FileMode,
    HostPatterns,
    Hosts,
    Keys,
    Line,
    LowerCase,
    Members,
    Names,
    Networks,
    Origins,
    Ports,
    ProxyAddress,
    RegistryAddress,
    RootPath,
    Sender,
    SmtpUrl,
    TraceLink,
    WebAddress,
    WebhookSecrets,
)

_MIB: Final = 2**20


class SettingTable(BaseSettings):
    """One row a setting: its type, its default and its meaning."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    bind: Address = Field(
        "127.0.0.1:8000",
        description="The address to listen at: `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`. Port 0 "
        "takes a free one. Without this setting, `PORT` set to a number means `0.0.0.0` at that "
        "port.",
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        2,
        description="Web worker processes, at most 256; each also runs tasks. With the memory "
        "registry: 1.",
    )
    data_dir: Directory = Field(
        Path("data"),
        description="The directory of the journal of all tasks. The service makes it with mode "
        "0700.",
    )
    output_dir: Directory = Field(
        Path("outputs"),
        description="The directory of files that tasks write: `<task id>.json` of file tasks, and "
        "`<task id>/<attempt>/` of all others.",
    )
    registry: RegistryAddress = Field(
        "manager",
        description="`manager`: a process of its own with a journal on disk. `memory`: for "
        "trying things out; nothing outlives the process, and there is one worker only. "
        "`postgresql://USER@HOST/DATABASE`: that database, which services on several machines may "
        "share: [More than one machine](machines.md#the-registry-in-postgresql).",
    )
    registry_password_file: Directory | None = Field(
        None,
        description="A file with the password of that database; none: libpq looks for it, in "
        "`PGPASSFILE` among others.",
    )
    grace_seconds: DelaySeconds = Field(
        25.0,
        description="The time for which running attempts may go on after SIGTERM before they are "
        "released.",
    )
    request_timeout_seconds: Annotated[float, Field(gt=0, le=7 * DAY, allow_inf_nan=False)] = Field(
        60.0,
        description="Time limit for one attempt, in seconds, unless the task or its type has "
        "its own. `REQUEST_TIMEOUT` sets it, too.",
    )
    notification_delay_seconds: DelaySeconds = Field(
        2.0, description="The time that the simulated sending of a notification takes."
    )
    report_delay_seconds: DelaySeconds = Field(
        3.0, description="The time that the simulated generation of a report takes."
    )
    file_delay_seconds: DelaySeconds = Field(
        2.0, description="The time for which a file task waits before it writes."
    )
    email_delay_seconds: DelaySeconds = Field(
        5.0, description="The time that the simulated sending of an email takes."
    )
    max_body_bytes: Count = Field(
        1 * _MIB,
        description="Larger request bodies are refused (413). So are bodies of more than 100,000 "
        "lists and objects, whatever their size.",
    )
    max_pending: Count = Field(
        100_000, description="Limit of unfinished tasks. At the limit, new tasks are refused (503)."
    )
    max_pending_bytes: Count = Field(
        256 * _MIB,
        description="Limit of the payloads of all unfinished tasks and schedules together. At "
        "the limit, new tasks are refused (503). Schedules take at most half of it.",
    )
    max_result_bytes: Count = Field(
        1 * _MIB, description="An attempt with a larger result fails, and its error says so."
    )
    max_artifact_bytes: Count = Field(
        100 * _MIB,
        description="Limit of all [files of a task](task-types.md#files) together. An attempt that "
        "writes more fails, and its error says so.",
    )
    retention_hours: Annotated[float, Field(ge=0, le=876_000, allow_inf_nan=False)] = Field(
        168.0, description="The time for which finished tasks are kept."
    )
    encryption_keys: Keys | None = Field(
        None,
        description="Keys that encrypt the journal: `id:key`, separated by commas, each key "
        "32 bytes in base64. The first one writes: [Encryption at rest](encryption.md).",
    )
    encryption_keys_file: Directory | None = Field(
        None,
        description="A file with the same instead, such as a secret of Compose; commas or line "
        "ends separate the keys.",
    )
    activity_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] = Field(
        90.0,
        description="The time that the log of activity (`GET /activity`) goes back. It has at most "
        "a million entries.",
    )
    clock_confirmed: bool = Field(
        False,
        description="`true`: the machine's clock is right, and finished tasks age by it even "
        "after a jump forward. Otherwise a jump of more than a minute counts after an hour: "
        "[The clock](#the-clock).",
    )
    async_slots: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        5_000,
        description="Attempts that each worker runs at once on its event loop, at most 1,000,000.",
    )
    thread_slots: Annotated[int, Field(ge=1, le=10_000)] = Field(
        16, description="Attempts that each worker runs at once in threads, at most 10,000."
    )
    process_slots: Annotated[int, Field(ge=1, le=1_000)] = Field(
        4, description="Attempts that each worker runs at once in child processes, at most 1,000."
    )
    dask_scheduler: DaskAddress = Field(
        "",
        description="The address of a Dask scheduler, such as `tcp://scheduler:8786`: attempts of "
        "the executor `dask` run on its cluster; none: there is no such executor. It needs "
        "`pip install 'afterwards[dask]'`: [More than one machine](machines.md).",
    )
    dask_slots: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1_000,
        description="Attempts that each worker gives to the Dask cluster at once, at most 100,000. "
        "They are fewer where the cluster has fewer threads.",
    )
    dask_takes_processes: bool = Field(
        False,
        description="`true`: your task types with the executor `process` run on the Dask cluster.",
    )
    overdue_seconds: Annotated[float, Field(gt=0, le=DAY, allow_inf_nan=False)] = Field(
        60.0,
        description="The time for which an attempt may go on after its time limit before it ends "
        "with its host: [Time limits](reliability.md#time-limits).",
    )
    blocked_seconds: Annotated[float, Field(gt=0, le=DAY, allow_inf_nan=False)] = Field(
        5.0,
        description="The time for which an attempt may block the event loop of its host before the "
        "log names it, with its stack.",
    )
    host_max_attempts: Annotated[int, Field(ge=0)] = Field(
        0, description="A host is replaced by a fresh one after so many attempts; 0: never."
    )
    host_max_memory_bytes: Annotated[int, Field(ge=0)] = Field(
        0,
        description="A host with more resident memory than this is replaced by a fresh one once "
        "its attempts have ended; 0: never.",
    )
    handover_seconds: Annotated[float, Field(gt=0, le=7 * DAY, allow_inf_nan=False)] = Field(
        3600.0,
        description="The time for which attempts may go on under the old code after "
        "[new task code](deployment.md#deploying-task-code).",
    )
    lease_seconds: Annotated[float, Field(ge=5, le=DAY, allow_inf_nan=False)] = Field(
        10.0,
        description="The time for which a worker may give no sign of life before its process is "
        "ended and its tasks are given away; at least 5. The worker itself stops the tasks a fifth "
        "earlier.",
    )
    task_modules: Names = Field(
        (),
        description="Modules with your own task types, separated by commas: "
        "[Task types](task-types.md).",
    )
    builtin_types: BuiltinTypes = Field(
        ("notification", "report", "file", "email", "http"),
        description="Task types that come with the service and are on, with their routes, "
        "separated by commas; `none`: no one. `http` also needs `AFTERWARDS_HTTP_HOSTS`. A task "
        "module may use the name of one that is off.",
    )
    smtp_url: SmtpUrl | None = Field(
        None,
        description="The mail server: `smtp://`, `smtps://` or `smtp+starttls://`, then "
        "`user:password@host:port`. Without it, mail is simulated: [Mail](effects.md#mail).",
    )
    smtp_password_file: Directory | None = Field(
        None, description="A file with the password instead, such as a secret of Compose."
    )
    smtp_connections: Annotated[int, Field(ge=1, le=100)] = Field(
        4, description="Connections to the mail server that each worker holds, at most 100."
    )
    smtp_timeout_seconds: Annotated[float, Field(gt=0, le=DAY, allow_inf_nan=False)] = Field(
        30.0, description="The time that the mail server has for each answer."
    )
    mail_from: Sender = Field(
        "", description="The sender of all mail: an address, or `Name <address>`."
    )
    notification_subject: Line = Field(
        "Notification", description="The subject of the mail of a notification."
    )
    http_hosts: HostPatterns = Field(
        (),
        description="Hosts that HTTP requests of tasks may go to, separated by commas: names, "
        "`*.example.com` for all names of a domain, or `*` for all public hosts. Without any, "
        "tasks make no HTTP requests.",
    )
    http_ports: Ports = Field(
        (80, 443), description="Ports that these requests may go to, separated by commas."
    )
    http_networks: Networks = Field(
        (),
        description="Networks that these requests may go to although they are not public, such "
        "as `10.1.0.0/16`, separated by commas.",
    )
    http_proxy: ProxyAddress | None = Field(
        None,
        description="The address of an HTTP proxy for all these requests, such as "
        "`http://user:password@proxy:3128`. The proxy looks names up, so addresses are not "
        "checked.",
    )
    secrets_file: Directory | None = Field(
        None,
        description="A JSON file with secrets that headers of these requests may refer to, and the "
        "hosts of each: [Secrets](effects.md#secrets). It must not be open to other users.",
    )
    webhook_hosts: HostPatterns = Field(
        ("*",),
        description="Hosts of [webhooks](webhooks.md) and callbacks, separated by commas: names, "
        "`*.example.com` for all names of a domain, or `*` for all public hosts. Their ports, "
        "networks and proxy are those of `AFTERWARDS_HTTP_PORTS` and so on.",
    )
    webhook_secrets: WebhookSecrets | None = Field(
        None,
        description="Secrets that sign notices to callbacks without one of their own, separated "
        "by commas, the latest first: `whsec_` and 24 to 64 bytes in base64. Without any, a "
        "callback has to bring its own.",
    )
    cors_origins: Origins = Field(
        (), description="Origins whose pages may call the API, separated by commas; `*` for all."
    )
    allowed_hosts: Hosts = Field(
        (),
        description="Names of this service that `Host` may have, separated by commas; `*` for "
        "any. IP addresses, localhost and the name in `AFTERWARDS_BIND` are always allowed. "
        "Others are refused (421).",
    )
    redacted_names: Members = Field(
        (
            "password",
            "passwd",
            "secret",
            "token",
            "api_key",
            "apikey",
            "authorization",
            "access_key",
            "private_key",
            "credentials",
        ),
        description="Names of members of payloads and results in whose place answers have "
        "`**********`, separated by commas, whatever their case; `-` and `_` are the same. "
        "`none`: only those that a task type declares as secret.",
    )
    allow_anonymous: Annotated[Literal["loopback", "public"], LowerCase] = Field(
        "loopback",
        description="Without keys the service listens at loopback addresses and Unix sockets only, "
        "and ends its start at any other. `public`: everybody who reaches it may do everything.",
    )
    socket_mode: FileMode = Field(
        "0660",
        description="The mode of a Unix socket, in octal digits. `0660`: its user and its "
        "group may connect.",
    )
    first_key_file: str = Field(
        "",
        description="A file with a token (`afterwards keys token` prints one). If there never was "
        "a key, it becomes that of an administrator at the start: [Keys](keys.md).",
    )
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        4_096,
        description="Connections that each worker holds, at most 1,000,000, and fewer where "
        "`ulimit -n` has no room. Beyond the limit, the longest idle one closes. One address "
        "holds at most a quarter.",
    )
    trusted_proxies: Networks = Field(
        (),
        description="Addresses or networks (`10.0.0.0/8`) of proxies in front of the service, "
        "separated by commas. Each may hold all connections, not only a quarter, and its "
        "`X-Forwarded-For` says who the client is.",
    )
    root_path: RootPath = Field(
        "",
        description="The path under which a proxy serves the API, and which it takes off, such "
        "as `/tasks-service`. OpenAPI and messages name it.",
    )
    log_level: Annotated[LogLevel, LowerCase] = Field(
        "info", description="The least severe level that is logged."
    )
    log_format: Annotated[LogFormat, LowerCase] = Field(
        "auto",
        description="`json`, `console` or `auto`. `auto` is `console` on a terminal, else `json`.",
    )

    otlp_endpoint: WebAddress = Field(
        "",
        description="A collector's address for traces, such as `http://collector:4318`; none: no "
        "traces. It needs `pip install 'afterwards[traces]'`: [Traces](deployment.md#traces).",
    )
    trace_link: TraceLink = Field(
        "",
        description="The address that shows a trace, with `{trace_id}` in the place of its id, "
        "such as `https://grafana.example.org/explore?traceId={trace_id}`. A task's page links to "
        "it.",
    )
