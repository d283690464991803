"""Secrets that headers of requests may refer to, and the hosts that each may go to."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from afterwards.outgoing.reach import ANY_HOST, host_pattern

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
REFERENCE: Final = re.compile(rf"\$\{{secret:({NAME.pattern})\}}")
MOST_BYTES: Final = 1024 * 1024

_VALUE: Final = re.compile(r"[!-~]([ -~]{6,8190})[!-~]")
"""Text that a header can carry. Shorter values cannot be masked without masking innocent text."""
_OTHERS: Final = stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret."""

    value: str = field(repr=False)
    hosts: tuple[str, ...]
    """Names, or names of a domain, as in `Reach.hosts`; never all hosts."""


def read_secrets(path: Path) -> dict[str, Secret]:
    """The secrets in a file, by their names.

    Raises:
        ValueError: it is no file of secrets, or other users may read it; the text shows no value.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        # The descriptor's: what is looked at is what is read.
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("must be a regular file")
        if found.st_mode & _OTHERS:
            raise ValueError("must not be open to other users: chmod o-rwx, or 600")
        if found.st_uid not in (os.geteuid(), 0):
            raise ValueError(f"must belong to the service's user, not to user {found.st_uid}")
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"must have at most {MOST_BYTES:,} bytes")
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    if type(members) is not dict:
        raise ValueError('must be JSON: {"NAME": {"value": "…", "hosts": ["api.example.com"]}}')
    return {name: _secret(name, one) for name, one in members.items()}


def _secret(name: str, members: Any) -> Secret:
    if NAME.fullmatch(name) is None:
        raise ValueError(
            f"must have names of up to 64 letters, digits, '_', '.' and '-' (got {name[:100]!r})"
        )
    if not isinstance(members, dict) or members.keys() != {"value", "hosts"}:
        raise ValueError(f"must have value and hosts, and nothing else, for secret {name!r}")
    value, hosts = members["value"], members["hosts"]
    if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
        raise ValueError(
            f"must have a value of 8 to 8,192 printable ASCII characters, with no space at its "
            f"ends, for secret {name!r}"
        )
    if not isinstance(hosts, list) or not hosts or not all(isinstance(one, str) for one in hosts):
        raise ValueError(f"must list the hosts that secret {name!r} may go to")
    try:
        patterns = tuple(map(host_pattern, hosts))
    except ValueError as error:
        raise ValueError(f"hosts of secret {name!r}: {error}") from None
    if ANY_HOST in patterns:
        raise ValueError(f"must name the hosts that secret {name!r} may go to; * is none")
    return Secret(value, patterns)
