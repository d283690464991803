"""The directories the service writes to: made, and tried, before anything else starts."""

from __future__ import annotations

import tempfile

from afterwards.errors import ConfigurationError
from afterwards.settings import Settings


def prepare_directories(settings: Settings) -> None:
    """Make the data and output directories, and see that they can be written.

    Raises:
        ConfigurationError: one cannot.
    """
    for field, directory, mode in (
        ("data_dir", settings.data_dir, 0o700),
        ("output_dir", settings.output_dir, 0o777),
    ):
        try:
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except FileExistsError:
            raise ConfigurationError(
                settings.name_of(field), f"{directory} is not a directory"
            ) from None
        except OSError as error:
            problem = f"{directory} cannot be used: {error.strerror or error}"
            raise ConfigurationError(settings.name_of(field), problem) from None
