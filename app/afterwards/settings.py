"""The settings: read once, from arguments, the environment and `.env`, and passed down.

Who says it wins, in this order: a flag, the environment, `.env`, the default. `PORT` and
`REQUEST_TIMEOUT`, as hosting platforms set them, count where the service's own name is not set.
An empty variable counts as not set. `docs/configuration.md` lists them all.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
)

from afterwards.effects.settings import EffectSettings, HttpSettings, WebhookSettings
from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import ConfigurationError
from afterwards.mail.settings import MailSettings, sender_of
from afterwards.outgoing.reach import Reach, networks_of
from afterwards.setting_secrets import (
    SECRET,
    database_url,
    journal_keys,
    request_secrets,
    smtp_server,
)
from afterwards.setting_sources import (
    NOT_SETTINGS,
    PLAIN_NAMES,
    PREFIX,
    PlainNames,
    name_of,
    port_of,
    require_readable,
    variable,
    variables,
)
from afterwards.setting_table import SettingTable
from afterwards.setting_types import UNIX, secrets_of
from afterwards.webhooks.webhook import DELIVERY


class Settings(SettingTable):
    """The decisions of an operator. Make it with `Settings.load`; tests may call it directly."""

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
        env_file = cls.model_config.get("env_file")
        require_readable(env_file)
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            settings = cls(**given)  # type: ignore[arg-type] # text, which pydantic converts
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            name = name_of(str(detail["loc"][0]), given, env_file)
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
    def in_database(self) -> bool:
        """True if the registry is in PostgreSQL."""
        return self.registry not in ("manager", "memory")

    def database(self) -> str:
        """The address of the database that the registry is in, with its password.

        Raises:
            ConfigurationError: the file with the password cannot be used.
        """
        return database_url(self.registry, self.registry_password_file)

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
        return journal_keys(self.encryption_keys, self.encryption_keys_file)

    @cached_property
    def effects(self) -> EffectSettings:
        """The settings of what task types do outside the service, read once for all workers.

        Raises:
            ConfigurationError: the settings of mail do not fit together, or a file with secrets
                cannot be used.
        """
        return EffectSettings(http=self._http(), mail=self._mail(), webhooks=self.webhooks)

    @property
    def webhooks(self) -> WebhookSettings:
        """The settings of deliveries to webhooks and callbacks."""
        secrets = self.webhook_secrets
        return WebhookSettings(
            reach=self._reach("webhook_hosts"),
            proxy=self._proxy,
            secrets=() if secrets is None else secrets_of(secrets.get_secret_value()),
        )

    def _http(self) -> HttpSettings | None:
        # Read in any case: a mistake in the file is told, whether it is needed or not.
        secrets = request_secrets(self.secrets_file)
        if not self.http_hosts:
            return None
        return HttpSettings(reach=self._reach("http_hosts"), proxy=self._proxy, secrets=secrets)

    def _mail(self) -> MailSettings | None:
        if self.smtp_url is None:
            return None
        if not self.mail_from:
            problem = f"must be set, beside {variable('smtp_url')}: the address that mail is from"
            raise ConfigurationError(variable("mail_from"), problem)
        return MailSettings(
            server=smtp_server(self.smtp_url, self.smtp_password_file),
            sender=sender_of(self.mail_from),
            notification_subject=self.notification_subject,
            connections=self.smtp_connections,
            workers=self.workers,
            timeout_seconds=self.smtp_timeout_seconds,
        )

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
        return name_of(field, self._given, self.model_config.get("env_file"))

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
        return init_settings, env_settings, dotenv_settings, PlainNames(settings_cls)


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
            for name in ("registry_password_file", "secrets_file", "smtp_password_file")
            if (file := getattr(settings, name)) is not None
        },
    }


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""


def unknown_variables() -> list[str]:
    """A message for each variable with our prefix that no setting has; a typo is worth a word."""
    known = [variable(field) for field in Settings.model_fields]
    messages = []
    for name in sorted(variables(Settings.model_config.get("env_file"))):
        if name.startswith(PREFIX) and name not in known and name not in NOT_SETTINGS:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            hint = f"; did you mean {close[0]}?" if close else ""
            messages.append(f"{name} is not a setting and has no effect{hint}")
    return messages


def _problem(name: str, detail: ErrorDetails) -> str:
    """The rule for the value, from the validator's message."""
    value = str(detail["input"])
    if name == PLAIN_NAMES["bind"]:
        return f"must be a port number (got {port_of(value)!r})"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
    if variable(str(detail["loc"][0])) in SECRET:
        return message
    # "..., unable to parse string as an integer": how it was found out, not what to do.
    if detail["type"].endswith("_parsing"):
        message = message.partition(",")[0]
    return f"{message} (got {value!r})"
