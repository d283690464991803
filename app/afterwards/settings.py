"""The settings: read once, from arguments, the environment and `.env`, and passed down.

Who says it wins, in this order: a flag, the environment, `.env`, the default. `PORT` and
`REQUEST_TIMEOUT`, as hosting platforms set them, count where the service's own name is not set.
An empty variable counts as not set. `docs/configuration.md` lists them all.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from afterwards.effects.secrets import Secret, read_secrets
from afterwards.effects.settings import EffectSettings, HttpSettings, WebhookSettings
from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import ConfigurationError
from afterwards.logs import LogFormat, LogLevel
from afterwards.mail.settings import MailSettings, SmtpServer, sender_of
from afterwards.outgoing.reach import Reach, networks_of
from afterwards.setting_types import (
    DAY,
    UNIX,
    Address,
    BuiltinTypes,
    Count,
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
    RootPath,
    Sender,
    SmtpUrl,
    TraceLink,
    WebAddress,
    WebhookSecrets,
    secrets_of,
)
from afterwards.webhooks.webhook import DELIVERY

PREFIX: Final = "AFTERWARDS_"
ENV_FILE: Final = ".env"

FLAGS: Final[Mapping[str, str]] = {
    "bind": "--bind",
    "workers": "--workers",
    "data_dir": "--data-dir",
    "output_dir": "--output-dir",
    "registry": "--registry",
    "grace_seconds": "--grace",
}
"""The settings that `afterwards serve` takes as flags, too."""

PLAIN_NAMES: Final[Mapping[str, str]] = {
    "bind": "PORT",
    "request_timeout_seconds": "REQUEST_TIMEOUT",
}
"""Names without the prefix that others set, for settings they can decide."""

NOT_SETTINGS: Final = frozenset({"AFTERWARDS_URL"})
"""Names with the prefix that are not the service's: where the command line finds it."""

_SECRET: Final = frozenset(
    {
        "AFTERWARDS_ENCRYPTION_KEYS",
        "AFTERWARDS_HTTP_PROXY",
        "AFTERWARDS_SMTP_URL",
        "AFTERWARDS_WEBHOOK_SECRETS",
    }
)
"""Settings whose values no message shows."""

_ALL_INTERFACES: Final = "0.0.0.0:"
_MIB: Final = 2**20


class Settings(BaseSettings):
    """The decisions of an operator. Make it with `Settings.load`; tests may call it directly."""

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
    registry: Literal["manager", "memory"] = Field(
        "manager",
        description="`manager`: a process of its own with a journal on disk. `memory`: for "
        "trying things out; nothing outlives the process, and there is one worker only.",
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

    _given: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, **flags: str | None) -> Self:
        """Read the settings. Paths in them are absolute, though the directory may change later.

        Args:
            flags: values given on the command line, by field name; None for those not given.

        Raises:
            ConfigurationError: a value is wrong; it names the flag or the variable. Or `.env` or
                the working directory cannot be used.
        """
        _require_surroundings()
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            settings = cls(**given)  # type: ignore[arg-type] # text, which pydantic converts
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            name = _name(str(detail["loc"][0]), given)
            raise ConfigurationError(name, _problem(name, detail)) from None
        settings._given = given
        chosen = settings._with_one_worker() if settings.registry == "memory" else settings
        return chosen.model_copy(update=_absolute_paths(chosen))

    @property
    def built_in(self) -> tuple[str, ...]:
        """The names of the task types that come with the service and are on."""
        on = (name for name in self.builtin_types if name != "http" or self.http_hosts)
        # Webhooks are deliveries of the service, whatever tasks it runs.
        return (*on, DELIVERY)

    @property
    def bound_names(self) -> tuple[str, ...]:
        """The host that it listens at, if that is a name or an address."""
        host = self.bind.rpartition(":")[0]
        return () if self.bind.startswith(UNIX) else (host,)

    def journal_keys(self) -> EncryptionKeys:
        """The keys that encrypt the journal.

        Raises:
            ConfigurationError: the file with the keys cannot be read, or has none.
        """
        file, given = self.encryption_keys_file, self.encryption_keys
        if file is None:
            return EncryptionKeys("" if given is None else given.get_secret_value())
        name = self.name_of("encryption_keys_file")
        if given is not None:
            raise ConfigurationError(name, f"must not be set beside {variable('encryption_keys')}")
        try:
            keys = EncryptionKeys(_secret_in(file, name, "ASCII"))
        except ValueError as error:
            raise ConfigurationError(name, f"{file} {error}") from None
        if not keys.text.strip():
            raise ConfigurationError(name, f"{file} is empty; write none to have no encryption")
        return keys

    @cached_property
    def effects(self) -> EffectSettings:
        """The settings of what task types do outside the service, read once for all workers.

        Raises:
            ConfigurationError: the settings of mail do not fit together, or a file with secrets
                cannot be used.
        """
        return EffectSettings(
            http=self._find_http(), mail=self._find_mail(), webhooks=self.webhooks
        )

    def _find_http(self) -> HttpSettings | None:
        # Read in any case: a mistake in the file is told, whether it is needed or not.
        secrets = self._secrets()
        if not self.http_hosts:
            return None
        return HttpSettings(reach=self._reach("http_hosts"), proxy=self._proxy, secrets=secrets)

    @property
    def webhooks(self) -> WebhookSettings:
        """The settings of deliveries to webhooks and callbacks."""
        secrets = self.webhook_secrets
        return WebhookSettings(
            reach=self._reach("webhook_hosts"),
            proxy=self._proxy,
            secrets=() if secrets is None else secrets_of(secrets.get_secret_value()),
        )

    def _find_mail(self) -> MailSettings | None:
        if self.smtp_url is None:
            return None
        if not self.mail_from:
            problem = f"must be set, beside {variable('smtp_url')}: the address that mail is from"
            raise ConfigurationError(variable("mail_from"), problem)
        return MailSettings(
            server=self._with_password(SmtpServer.of_url(self.smtp_url.get_secret_value())),
            sender=sender_of(self.mail_from),
            notification_subject=self.notification_subject,
            connections=self.smtp_connections,
            workers=self.workers,
            timeout_seconds=self.smtp_timeout_seconds,
        )

    def _with_password(self, server: SmtpServer) -> SmtpServer:
        url, name = variable("smtp_url"), variable("smtp_password_file")
        file = self.smtp_password_file
        if file is None:
            if server.username is not None and server.password is None:
                raise ConfigurationError(url, f"has a user and no password; {name} may have one")
            return server
        if server.username is None or server.password is not None:
            raise ConfigurationError(name, f"needs a user without a password in {url}")
        password = _secret_in(file, name, "UTF-8").rstrip("\r\n")
        if not password:
            raise ConfigurationError(name, f"{file} is empty")
        return replace(server, password=password)

    def _secrets(self) -> dict[str, Secret]:
        file, name = self.secrets_file, self.name_of("secrets_file")
        if file is None:
            return {}
        try:
            return read_secrets(file)
        except ValueError as error:
            raise ConfigurationError(name, f"{file} {error}") from None
        except OSError as error:
            raise ConfigurationError(name, f"{file} cannot be read: {error.strerror}") from None

    def _reach(self, hosts: str) -> Reach:
        return Reach(
            hosts=getattr(self, hosts),
            ports=frozenset(self.http_ports),
            networks=networks_of(self.http_networks),
            setting=variable(hosts),
        )

    @property
    def _proxy(self) -> str | None:
        return None if self.http_proxy is None else self.http_proxy.get_secret_value()

    def name_of(self, field: str) -> str:
        """The name by which `field` was set: its flag, or its environment variable."""
        return _name(field, self._given)

    def _with_one_worker(self) -> Self:
        """No two can share the memory registry; more is refused if it was asked for."""
        if "workers" in self.model_fields_set and self.workers > 1:
            problem = f"must be 1 with the memory registry (got {self.workers})"
            raise ConfigurationError(self.name_of("workers"), problem)
        return self.model_copy(update={"workers": 1})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - none are read
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources in the order this module's docstring says."""
        return init_settings, env_settings, dotenv_settings, _PlainNames(settings_cls)


class _PlainNames(PydanticBaseSettingsSource):
    """Settings from names that are not ours. The last source, so that our own names win."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """One setting from its plain name; the base class asks for this method."""
        value = _variables().get(PLAIN_NAMES.get(field_name, ""), "") or None
        if value is not None and field_name == "bind":
            value = _ALL_INTERFACES + value
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(None, name)[0] for name in PLAIN_NAMES}
        return {name: value for name, value in found.items() if value is not None}


def _secret_in(file: Path, name: str, encoding: str) -> str:
    """The text of a file with a secret. Raises `ConfigurationError`, which does not show it."""
    try:
        return file.read_text(encoding=encoding)
    except UnicodeDecodeError:
        raise ConfigurationError(name, f"{file} must be text in {encoding}") from None
    except OSError as error:
        raise ConfigurationError(name, f"{file} cannot be read: {error.strerror}") from None


def _absolute_paths(settings: Settings) -> dict[str, Any]:
    bind = settings.bind
    if bind.startswith(UNIX):
        bind = f"{UNIX}{Path(bind.removeprefix(UNIX)).absolute()}"
    return {
        "bind": bind,
        "data_dir": settings.data_dir.absolute(),
        "output_dir": settings.output_dir.absolute(),
        "first_key_file": _absolute(settings.first_key_file),
        **{
            name: file.absolute()
            for name in ("secrets_file", "smtp_password_file")
            if (file := getattr(settings, name)) is not None
        },
    }


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""


def _require_surroundings() -> None:
    """See that `.env` can be read, if it is there, and that paths lead somewhere.

    Raises:
        ConfigurationError: they do not.
    """
    try:
        Path.cwd()
    except OSError as error:
        problem = f"{error.strerror}; change to one that is there, and start again"
        raise ConfigurationError("working directory", problem) from None
    file = Settings.model_config.get("env_file")
    if not isinstance(file, str):
        return
    try:
        Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except UnicodeDecodeError:
        raise ConfigurationError(file, "must be text in UTF-8") from None
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; repair it, or take it away"
        raise ConfigurationError(file, problem) from None


def unknown_variables() -> list[str]:
    """A message for each variable with our prefix that no setting has; a typo is worth a word."""
    known = [variable(field) for field in Settings.model_fields]
    messages = []
    for name in sorted(_variables()):
        if name.startswith(PREFIX) and name not in known and name not in NOT_SETTINGS:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            hint = f"; did you mean {close[0]}?" if close else ""
            messages.append(f"{name} is not a setting and has no effect{hint}")
    return messages


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def _variables() -> dict[str, str]:
    """The environment over `.env`, without those that are empty; names in upper case."""
    file = Settings.model_config.get("env_file")
    written = dotenv_values(file, encoding="utf-8") if isinstance(file, str) else {}
    merged = {**written, **os.environ}
    return {name.upper(): value for name, value in merged.items() if value}


def _name(field: str, given: Mapping[str, str]) -> str:
    if field in given and field in FLAGS:
        return FLAGS[field]
    variables = _variables()
    plain = PLAIN_NAMES.get(field)
    if plain in variables and variable(field) not in variables:
        return plain
    return variable(field)


def _problem(name: str, detail: ErrorDetails) -> str:
    """The rule for the value, from the validator's message."""
    value = str(detail["input"])
    if name == PLAIN_NAMES["bind"]:
        return f"must be a port number (got {value.removeprefix(_ALL_INTERFACES)!r})"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
    if name in _SECRET:
        return message
    # "..., unable to parse string as an integer": how it was found out, not what to do.
    if detail["type"].endswith("_parsing"):
        message = message.partition(",")[0]
    return f"{message} (got {value!r})"
