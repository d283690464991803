"""A reader of a page, who does all that it says: writes its files, runs its commands.

A line before a block that is nothing but a path and a colon names the file to write. In a `console`
block, `$` begins a command, and what follows is its output: JSON of which `...` leaves parts out,
or text of which it does.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.conftest import AFTERWARDS, Service

BLOCK = re.compile(
    r"(?:^`(?P<path>\S+)`:\n\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
URL = "http://127.0.0.1:8000"


class Command(NamedTuple):
    """A command, and the output that the page shows for it."""

    line: str
    output: str


def commands(body: str) -> Iterator[Command]:
    for text in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        line, _, output = text.partition("\n")
        yield Command(line, output.strip())


class Reader:
    """Somebody who follows the page in a directory of his own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.service: Service | None = None
        self._starts = 0
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def write(self, path: str, body: str) -> None:
        file = self.directory / path
        assert file.parent.is_dir(), f"the page has not had {file.parent} made"
        file.write_text(body)

    def run(self, command: Command) -> None:
        if not command.line.endswith("afterwards serve"):
            self._run_in_shell(command)
        elif command.output:
            self._fail_to_serve(command)
        else:
            self._serve(command)

    def leave(self) -> None:
        if self.service is not None:
            self.service.kill_everything()
            self.service.client.close()

    def _serve(self, command: Command) -> None:
        if self.service is not None:
            assert self.service.stop() == 0
            self.service.client.close()
        self._starts += 1
        home = self.directory / f"service-{self._starts}"
        home.mkdir()
        setting = shlex.split(command.line)[0]
        name, _, value = setting.partition("=")
        self.service = Service(home, **{name.removeprefix("AFTERWARDS_").lower(): value})
        self.service.directory = self.directory
        self.service.start()

    def _fail_to_serve(self, command: Command) -> None:
        ended = self._shell(command.line.replace("afterwards serve", f"{AFTERWARDS} serve"))
        assert ended.returncode == 2
        assert fits(command.output, ended.stderr.strip()), ended.stderr

    def _run_in_shell(self, command: Command) -> None:
        line = command.line
        if self.service is not None:
            line = line.replace(URL, self.service.url)
        variable = re.match(r"(\w+)=\$\(", line)
        if variable is not None:
            line += f'; echo "${variable[1]}"'
        ended = self._shell(line)
        assert ended.returncode == 0, (command.line, ended.stdout, ended.stderr)
        if variable is not None:
            self._environment[variable[1]] = ended.stdout.strip()
        elif command.output.startswith("{"):
            shown, answer = shown_json(command.output), json.loads(ended.stdout)
            assert is_part_of(shown, answer), (command.line, shown, answer)
        else:
            assert command.output == "" or fits(command.output, ended.stdout.strip())

    def _shell(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )


def shown_json(text: str) -> Any:
    return json.loads(re.sub(r",? ?\.\.\.(?=[}\]])", "", text))


def is_part_of(shown: Any, answer: Any) -> bool:
    """True if everything that is shown is in the answer; lists have to be whole."""
    if isinstance(shown, dict) and isinstance(answer, dict):
        return all(key in answer and is_part_of(shown[key], answer[key]) for key in shown)
    if isinstance(shown, list) and isinstance(answer, list):
        return len(shown) == len(answer) and all(map(is_part_of, shown, answer))
    return bool(shown == answer)


def fits(shown: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), text) is not None
