"""The clients of the host of effects, opened before its first attempt and closed at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from afterwards.effects.settings import EffectSettings, RequestSettings
from afterwards.mail.mailer import Mailer
from afterwards.outgoing.client import Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """The `TaskContext.resources` of attempts in the host of effects; None where one is off."""

    settings: EffectSettings
    http: Outgoing | None = None
    mail: Mailer | None = None
    webhooks: Outgoing | None = None


@asynccontextmanager
async def opened(settings: EffectSettings) -> AsyncIterator[Effects]:
    """The clients that these settings ask for, on the running event loop."""
    async with AsyncExitStack() as stack:
        mail = None
        if settings.mail is not None:
            mail = Mailer(settings.mail)
            stack.push_async_callback(mail.close)
        http = await _client(settings.http, stack)
        webhooks = await _client(settings.webhooks, stack)
        yield Effects(settings=settings, http=http, mail=mail, webhooks=webhooks)


async def _client(settings: RequestSettings | None, stack: AsyncExitStack) -> Outgoing | None:
    if settings is None:
        return None
    client = Outgoing(settings.reach, proxy=settings.proxy)
    return await stack.enter_async_context(client)
