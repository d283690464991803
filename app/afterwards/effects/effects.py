"""The clients of the host of effects, opened before its first attempt and closed at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from afterwards.effects.settings import EffectSettings
from afterwards.mail.mailer import Mailer
from afterwards.outgoing.client import Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """The `TaskContext.resources` of attempts in the host of effects; None where one is off."""

    settings: EffectSettings
    http: Outgoing | None = None
    mail: Mailer | None = None


@asynccontextmanager
async def opened(settings: EffectSettings) -> AsyncIterator[Effects]:
    """The clients that these settings ask for, on the running event loop."""
    async with AsyncExitStack() as stack:
        http = None
        if settings.http is not None:
            client = Outgoing(settings.http.reach, proxy=settings.http.proxy)
            http = await stack.enter_async_context(client)
        mail = None
        if settings.mail is not None:
            mail = Mailer(settings.mail)
            stack.push_async_callback(mail.close)
        yield Effects(settings=settings, http=http, mail=mail)
