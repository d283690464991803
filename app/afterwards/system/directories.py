"""The directories the service writes to: made, and tried, before anything else starts."""

from __future__ import annotations

import os
import tempfile

from afterwards.errors import ConfigurationError
from afterwards.settings import Settings
from afterwards.system.owners import stranger_at


def require_temporary_directory() -> None:
    """See that there is a directory for temporary files, and have it stay the same.

    To be called before any module of the user's is imported, which may change the directory that a
    relative `TMPDIR` starts from.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        problem = "no directory for temporary files can be used; set it to one"
        raise ConfigurationError("TMPDIR", problem) from None


def prepare_directories(settings: Settings) -> None:
    """Make the data and output directories, and see that they can be written.

    Raises:
        ConfigurationError: one cannot.
    """
    try:
        str(settings.output_dir).encode()
    except UnicodeEncodeError:
        # The results of file tasks name it, and they are JSON.
        problem = f"{str(settings.output_dir)!a} is not UTF-8; set another directory"
        raise ConfigurationError(settings.name_of("output_dir"), problem) from None
    for field, directory, mode in (
        ("data_dir", settings.data_dir, 0o700),
        ("output_dir", settings.output_dir, 0o777),
    ):
        try:
            if field == "data_dir":
                _require_own(settings)
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except FileExistsError:
            problem = f"{directory} is not a directory; move it away, or set another"
            raise ConfigurationError(settings.name_of(field), problem) from None
        except OSError as error:
            reason = error.strerror or error
            problem = f"{directory} cannot be used: {reason}; mend that, or set another"
            raise ConfigurationError(settings.name_of(field), problem) from None


def _require_own(settings: Settings) -> None:
    """Have root serve no data directory of another user, who could have it write anywhere.

    Raises:
        ConfigurationError: it is one.
        OSError: it cannot be looked at.
    """
    stranger = stranger_at(settings.data_dir) if os.geteuid() == 0 else None
    if stranger is not None:
        problem = (
            f"{settings.data_dir} belongs to user {stranger}, and root does not serve it; run the "
            "service as that user, or set another directory"
        )
        raise ConfigurationError(settings.name_of("data_dir"), problem)
