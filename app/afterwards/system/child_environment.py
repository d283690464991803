"""The environment of task code."""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values

from afterwards.setting_sources import PREFIX
from afterwards.settings import Settings


def child_environment() -> dict[str, str]:
    """The variables of a process that runs task code: this one's, and those in `.env`.

    As for the service's settings, the environment goes before the file. The settings themselves
    are left out, wherever they stand: they are the service's, and some of them may be secret.
    """
    file = Settings.model_config.get("env_file")
    written = {}
    if isinstance(file, str) and Path(file).is_file():
        written = dotenv_values(file, encoding="utf-8")
    return {
        name: value
        for name, value in {**written, **os.environ}.items()
        if value is not None and not name.upper().startswith(PREFIX)
    }
