"""The first key of a service on a machine without logins: from a file, such as a secret."""

from __future__ import annotations

import os
import time
from typing import Final

from afterwards.access.key import Key
from afterwards.access.keyring import Keyring
from afterwards.access.roles import Role
from afterwards.access.tokens import Parsed, parsed
from afterwards.errors import AfterwardsError, ConfigurationError
from afterwards.logs import get_logger
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.key_requests import CreateKey, Keys

log = get_logger(__name__)

SETTING: Final = "AFTERWARDS_FIRST_KEY_FILE"
NAME: Final = "first"
_MOST_BYTES: Final = 1_000


def provide(registry: Registry, path: str) -> None:
    """Make the token in a file an administrator's key, if there never was a key.

    To be called before anybody is served. The file is not read otherwise.

    Args:
        path: empty: there is no file.

    Raises:
        ConfigurationError: the file cannot be read, or holds no token.
        JournalUnavailable: the key cannot be written.
    """
    if not path:
        return
    [ring] = registry.exchange(None, 0, [Keys()]).answers
    assert isinstance(ring, Keyring)
    if ring.required or ring.keys:
        return
    token = _token_in(path)
    key = Key(
        id=token.id,
        name=NAME,
        principal=NAME,
        role=Role.ADMIN,
        payloads=True,
        created_at=time.time(),
        digest=token.digest,
    )
    request = CreateKey(key, only_first=True, by=By(actor=SETTING))
    [answer] = registry.exchange(None, 0, [request]).answers
    if isinstance(answer, AfterwardsError):
        raise answer
    log.info("the first key was made; keys are required", key_id=key.id, file=path)


def _token_in(path: str) -> Parsed:
    try:
        # A pipe that nobody writes to would be waited for without end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigurationError(SETTING, f"{path}: {error.strerror or error}") from None
    token = parsed(text.strip())
    if token is None:
        # What is there instead may be another secret.
        problem = f"{path} must hold one token and nothing else; `afterwards keys token` prints one"
        raise ConfigurationError(SETTING, problem)
    return token
