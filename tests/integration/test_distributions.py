"""The wheels, installed where there is no checkout, beside a project with an `app` of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import threading
import venv
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest

from afterwards.cli.commands import SERVICE, TASKS
from tests.integration.conftest import Service, started

CHECKOUT: Final = Path(__file__).parents[2]
ROOTS: Final = {"app": "afterwards", "executors": "afterwards_executors"}
EXAMPLE_ADDRESS: Final = "https://git.example.org/afterwards.git"
LOCK: Final = CHECKOUT / "requirements.lock"
"""The requirements of the service, and of its build."""
CLIENT_ROOT: Final = CHECKOUT / "clients" / "python"

JOBS: Final = """
from pydantic import BaseModel

from afterwards import TaskContext, TaskType
from app.db import lookup
from executors import WHOSE
from tests import SAMPLE

class Job(BaseModel):
    key: str

async def look(payload: Job, context: TaskContext):
    return {"found": lookup(payload.key), "whose": WHOSE, "sample": SAMPLE}

def look_up(payload: Job, context: TaskContext):
    return {"found": lookup(payload.key), "whose": WHOSE, "sample": SAMPLE}

ASYNC = TaskType("look-async", Job, look)
THREAD = TaskType("look-thread", Job, look_up, executor="thread")
PROCESS = TaskType("look-process", Job, look_up, executor="process")
"""


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Standard output of a program that has none of this process' settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        command, cwd=cwd, env={**kept, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdists(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    output = tmp_path_factory.mktemp("sdists")
    for root in (CHECKOUT, CLIENT_ROOT):
        run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", output, cwd=root)
    return sorted(output.iterdir())


@pytest.fixture(scope="module")
def wheels(sdists: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Made from the source distributions, which so have to be complete."""
    output = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-index")
    offline = ("--no-deps", "--no-build-isolation")
    run(*pip, *offline, "--wheel-dir", output, *sdists, cwd=output)
    return sorted(output.iterdir())


@pytest.fixture(scope="module")
def programs(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheels and what they need, and nothing else.

    What they need is taken from here: a test needs no network. pip finds it there, and would fail
    for want of an index if anything were missing.
    """
    directory = tmp_path_factory.mktemp("environment")
    libraries = directory / "libraries"
    libraries.mkdir()
    for name in re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==", LOCK.read_text(), re.MULTILINE):
        with contextlib.suppress(metadata.PackageNotFoundError):  # for other Pythons
            for file in metadata.files(name) or ():
                top = libraries / file.parts[0]
                if file.parts[0] != ".." and not top.exists():
                    top.symlink_to(Path(str(metadata.distribution(name).locate_file(top.name))))
    venv.create(directory / "venv", with_pip=False)
    python = directory / "venv" / "bin" / "python"
    [packages] = (directory / "venv" / "lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text(f"{libraries}\n")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--no-index", *wheels, cwd=directory)
    return python.parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with packages of the names that are most taken, and a module of task types."""
    directory = tmp_path / "project"
    for package, text in {
        "app": "",
        "executors": "WHOSE = 'the project'",
        "tests": "SAMPLE = 7",
    }.items():
        (directory / package).mkdir(parents=True)
        (directory / package / "__init__.py").write_text(text)
    (directory / "app" / "db.py").write_text("def lookup(key):\n    return key.upper()\n")
    (directory / "jobs.py").write_text(JOBS)
    return directory


@pytest.fixture(
    params=[pytest.param("", marks=pytest.mark.thorough), "."], ids=["", "with-PYTHONPATH"]
)
def service(
    programs: Path, project: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Service]:
    service = Service(tmp_path, task_modules="jobs", workers="1")
    service.command = (str(programs / "afterwards"), "serve")
    service.directory = project
    service.set_plain(PYTHONPATH=request.param)
    with started(service):
        yield service


def names(wheel: Path) -> set[str]:
    """The files of a wheel that are not about it."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_wheels_have_the_names_that_are_ours_and_no_others(wheels: list[Path]) -> None:
    found = {name.split("/")[0] for wheel in wheels for name in names(wheel)}
    assert found == {"afterwards", "afterwards_executors", "afterwards_client"}


def test_wheels_have_what_the_checkout_has_under_the_same_names(wheels: list[Path]) -> None:
    roots = {CHECKOUT / root: package for root, package in ROOTS.items()}
    roots[CLIENT_ROOT] = "afterwards_client"
    there = {
        str(path.relative_to(root))
        for root, package in roots.items()
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert set().union(*map(names, wheels)) == there


def test_source_distributions_have_sources_and_no_tests(sdists: list[Path]) -> None:
    for sdist in sdists:
        with tarfile.open(sdist) as archive:
            top = {name.split("/")[1] for name in archive.getnames()}
        expected = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
        if "client" in sdist.name:
            expected |= {"afterwards_client"}
        else:
            expected |= {"CHANGELOG.md", *ROOTS}
        assert top - {".gitignore"} == expected


def test_nothing_of_a_checkout_runs_when_an_interpreter_starts() -> None:
    packages = Path(sysconfig.get_path("purelib"))
    lines = [
        line
        for name in ("_afterwards.pth", "_afterwards_client.pth")
        for line in (packages / name).read_text().splitlines()
    ]
    # A line that is no directory would be an import hook.
    assert [Path(line) for line in lines] == [*(CHECKOUT / root for root in ROOTS), CLIENT_ROOT]
    assert not any(path.is_symlink() for root in ROOTS for path in (CHECKOUT / root).iterdir())


def test_the_service_runs_from_the_wheels_beside_a_project_with_an_app(service: Service) -> None:
    for kind in ("async", "thread", "process"):
        answer = service.post(
            "/tasks?wait=20", {"type": f"look-{kind}", "payload": {"key": "name"}}
        )
        document = answer.json()
        assert (document["status"], document["error"]) == ("success", None)
        assert document["result"] == {"found": "NAME", "whose": "the project", "sample": 7}


@pytest.mark.thorough
def test_every_command_works_from_the_wheels(
    service: Service, programs: Path, project: Path, tmp_path: Path
) -> None:
    def command(*words: str | Path) -> str:
        return run(programs / "afterwards", *words, cwd=project, AFTERWARDS_URL=service.url)

    for name in (*SERVICE, *TASKS):
        assert f"afterwards {name}" in command(name, "--help")
    task_id = command("submit", "look-async", '{"key": "name"}').strip()
    assert "status: success" in command("status", task_id, "--watch")
    assert task_id in command("list")
    assert "finished first" in run_any(programs, project, service, "cancel", task_id)
    data_dir = ("--data-dir", service.data_dir)
    assert "unfinished tasks: 0" in command("backup", tmp_path / "backup", *data_dir)
    there = run(programs / "python", "-c", "import afterwards; print(afterwards)", cwd=project)
    assert str(programs.parent) in there


def run_any(programs: Path, project: Path, service: Service, *words: str) -> str:
    """Standard output, whatever the exit status."""
    return subprocess.run(
        [programs / "afterwards", *words, "--url", service.url],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.fixture
def git_address(tmp_path: Path) -> Iterator[str]:
    """This checkout's last commit, as a web server gives it to git."""
    bare = tmp_path / "served" / "afterwards.git"
    run("git", "clone", "--quiet", "--bare", CHECKOUT, bare, cwd=tmp_path)
    run("git", "update-server-info", cwd=bare)
    handler = partial(QuietHandler, directory=str(bare.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/afterwards.git"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.thorough
def test_both_are_installed_from_a_git_address_in_one_command(
    git_address: str, tmp_path: Path
) -> None:
    page = (CHECKOUT / "docs" / "installing.md").read_text()
    [line] = [line for line in page.splitlines() if "git+https" in line]
    requirements = [word.replace(EXAMPLE_ADDRESS, git_address) for word in shlex.split(line)[3:]]
    assert all(git_address in requirement for requirement in requirements)
    target = tmp_path / "target"
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--target", target)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *offline)
    run(*pip, *requirements, cwd=tmp_path)
    found = {path.name for path in target.iterdir() if path.is_dir()}
    assert {"afterwards", "afterwards_executors", "afterwards_client"} <= found
