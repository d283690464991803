"""Settings that are secret: what each file with one holds, and how it goes with the others.

Every function here may raise `ConfigurationError`, which names the setting and shows no secret.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic import SecretStr

from afterwards.effects.secrets import Secret, read_secrets
from afterwards.encryption_keys import EncryptionKeys
from afterwards.errors import ConfigurationError
from afterwards.mail.settings import SmtpServer
from afterwards.setting_sources import variable

SECRET: Final = frozenset(
    variable(field)
    for field in ("encryption_keys", "http_proxy", "registry", "smtp_url", "webhook_secrets")
)
"""Settings whose values no message shows."""


def journal_keys(given: SecretStr | None, file: Path | None) -> EncryptionKeys:
    """The keys that encrypt the journal: those that were given, or those in the file."""
    if file is None:
        return EncryptionKeys("" if given is None else given.get_secret_value())
    name = variable("encryption_keys_file")
    if given is not None:
        raise ConfigurationError(name, f"must not be set beside {variable('encryption_keys')}")
    try:
        keys = EncryptionKeys(_text_in(file, name, "ASCII"))
    except ValueError as error:
        raise ConfigurationError(name, f"{file} {error}") from None
    if not keys.text.strip():
        raise ConfigurationError(name, f"{file} is empty; write none to have no encryption")
    return keys


def smtp_server(address: SecretStr, password_file: Path | None) -> SmtpServer:
    """The mail server at an address, with the password that is in the address or in the file."""
    server = SmtpServer.of_url(address.get_secret_value())
    url, name = variable("smtp_url"), variable("smtp_password_file")
    if password_file is None:
        if server.username is not None and server.password is None:
            raise ConfigurationError(url, f"has a user and no password; {name} may have one")
        return server
    if server.username is None or server.password is not None:
        raise ConfigurationError(name, f"needs a user without a password in {url}")
    password = _text_in(password_file, name, "UTF-8").rstrip("\r\n")
    if not password:
        raise ConfigurationError(name, f"{password_file} is empty")
    return replace(server, password=password)


def database_url(address: str, password_file: Path | None) -> str:
    """The address of a database with the password that is in the file."""
    if password_file is None:
        return address
    name = variable("registry_password_file")
    password = _text_in(password_file, name, "UTF-8").rstrip("\r\n")
    if not password:
        raise ConfigurationError(name, f"{password_file} is empty")
    return f"{address}{'&' if '?' in address else '?'}password={quote(password, safe='')}"


def request_secrets(file: Path | None) -> dict[str, Secret]:
    """The secrets that headers of requests may refer to, by their names."""
    if file is None:
        return {}
    name = variable("secrets_file")
    try:
        return read_secrets(file)
    except ValueError as error:
        raise ConfigurationError(name, f"{file} {error}") from None
    except OSError as error:
        raise ConfigurationError(name, f"{file} cannot be read: {error.strerror}") from None


def _text_in(file: Path, name: str, encoding: str) -> str:
    try:
        return file.read_text(encoding=encoding)
    except UnicodeDecodeError:
        raise ConfigurationError(name, f"{file} must be text in {encoding}") from None
    except OSError as error:
        raise ConfigurationError(name, f"{file} cannot be read: {error.strerror}") from None
