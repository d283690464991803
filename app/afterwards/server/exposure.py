"""No service that others reach without keys, unless somebody has said so."""

from __future__ import annotations

import ipaddress
from typing import Final

from afterwards.errors import ConfigurationError
from afterwards.setting_sources import variable
from afterwards.setting_types import UNIX
from afterwards.settings import Settings

_LOCALHOST: Final = "localhost"


def require_keys_in_public(settings: Settings) -> None:
    """Refuse to listen at a public address where no request needs a key.

    Raises:
        ConfigurationError: it would; the message says what to do.
        JournalError: the journal cannot be read.
    """
    if settings.allow_anonymous == "public" or _is_own(settings.bind):
        return
    if settings.registry == "manager":
        # It reads the journal, for which much is imported. Most services need no such look.
        from afterwards.server.keys import will_be_required  # noqa: PLC0415 - see above

        required = will_be_required(settings.data_dir, by_file=bool(settings.first_key_file))
        way = "afterwards keys create NAME --role admin"
    else:
        required = bool(settings.first_key_file)
        way = f"{variable('first_key_file')}, as the registry has no journal here"
    if not required:
        problem = (
            f"{settings.bind} can be reached by others, who would need no key; make one ({way}), "
            "listen at 127.0.0.1, or set AFTERWARDS_ALLOW_ANONYMOUS=public"
        )
        raise ConfigurationError(settings.name_of("bind"), problem)


def _is_own(bind: str) -> bool:
    """True for an address that only this machine reaches."""
    if bind.startswith(UNIX):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    if host.lower() == _LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: where it leads is somebody else's to say
