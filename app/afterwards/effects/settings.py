"""The settings of what built-in task types do outside the service: plain data for its host.

They hold secrets, which reach that host over its wire, and no `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from afterwards.effects.secrets import Secret
from afterwards.mail.settings import MailSettings
from afterwards.outgoing.reach import Reach

MAIL_TYPES: Final = frozenset({"email", "notification"})
"""The names of the task types that send mail, or simulate it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """The settings of HTTP requests."""

    reach: Reach
    """The places that requests may go to."""
    proxy: str | None = field(default=None, repr=False)
    """The URL of a proxy for all requests, with its user and password; None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings(RequestSettings):
    """The settings of tasks of the type `http`."""

    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    """The secrets that headers may refer to, by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(RequestSettings):
    """The settings of deliveries to webhooks and callbacks."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    """All sign notices to callbacks that have no secret of their own; the latest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectSettings:
    """The settings of all effects; None where an effect is off."""

    http: HttpSettings | None = None
    mail: MailSettings | None = None
    webhooks: WebhookSettings | None = None

    @property
    def types(self) -> frozenset[str]:
        """The names of the built-in task types whose attempts run in the host of effects."""
        found = {"http": self.http, "webhook": self.webhooks}
        requests = frozenset(name for name, settings in found.items() if settings is not None)
        return requests if self.mail is None else requests | MAIL_TYPES

    def most_at_once(self, type_name: str) -> int | None:
        """The number of attempts at a built-in type that may run at once; None: any number.

        A mail that waits for a connection waits as a task, not as an attempt whose time runs.
        """
        mail = self.mail
        return None if mail is None or type_name not in MAIL_TYPES else mail.most_at_once


NO_EFFECTS: Final = EffectSettings()
