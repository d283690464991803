"""Modules with task types of one's own: found, or refused in one line that says what is wrong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from afterwards.errors import ConfigurationError
from afterwards.task_types import CATALOGUE
from afterwards.task_types.modules import load, load_catalogue

PREAMBLE = """\
from pydantic import BaseModel
from afterwards import TaskType

class Payload(BaseModel):
    pass

async def run(payload, context):
    return {}

"""

Write = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory, of whose modules nothing is left afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    load.cache_clear()
    yield tmp_path
    load.cache_clear()
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(here: Path) -> Write:
    def write(path: str, text: str) -> None:
        file = here / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    return write


def names(*modules: str) -> set[str]:
    return set(load_catalogue(modules)) - set(CATALOGUE)


def problem(*modules: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_catalogue(modules)
    assert caught.value.setting == "AFTERWARDS_TASK_MODULES"
    assert "\n" not in caught.value.problem
    return caught.value.problem


def test_without_modules_there_is_what_comes_with_the_service() -> None:
    assert load_catalogue(()) is CATALOGUE


def test_a_module_may_take_the_name_of_a_built_in_type_that_is_off(write: Write) -> None:
    write("mail.py", PREAMBLE + "A = TaskType('email', Payload, run)")
    found = load(("mail",), ("report", "file"))
    assert set(found.catalogue) == {"report", "file", "email"}
    assert found.owners == {"email": "mail"}
    assert "the name 'email' is taken by the service itself" in problem("mail")


def test_every_task_type_at_the_top_level_of_a_module_is_there(write: Write) -> None:
    write("shop/__init__.py", "")
    two = "A = TaskType('a', Payload, run)\n_B = TaskType('b', Payload, run)"
    write("shop/tasks.py", PREAMBLE + two)
    write("billing.py", PREAMBLE + "INVOICE = TaskType('invoice', Payload, run)")
    assert names("shop.tasks", "billing") == {"a", "b", "invoice"}
    assert set(CATALOGUE) <= set(load_catalogue(("shop.tasks", "billing")))


def test_a_type_that_several_modules_have_is_there_once(write: Write) -> None:
    write("one.py", PREAMBLE + "A = TaskType('a', Payload, run)\nB = A")
    write("two.py", "from one import A\nfrom afterwards.task_types.email import EMAIL")
    assert names("one", "two", "one") == {"a"}


def test_a_module_is_imported_once(write: Write, here: Path) -> None:
    # A second import would find the directory there, and raise.
    write("once.py", PREAMBLE + "import os\nos.mkdir('mark')\nA = TaskType('a', Payload, run)")
    load_catalogue(("once",))
    load_catalogue(("once",))
    assert (here / "mark").is_dir()


def test_what_lies_in_the_current_directory_takes_nobody_s_place(write: Write) -> None:
    write("json.py", "raise RuntimeError('imported in place of the real one')")
    write("app.py", "raise RuntimeError('imported in place of the service')")
    write("shop.py", PREAMBLE + "import json\nA = TaskType('a', Payload, run)")
    assert names("shop") == {"a"}
    assert sys.path[-1] == str(Path.cwd())


@pytest.mark.parametrize("own", ["afterwards.tasks", "afterwards_client", "afterwards_executors"])
def test_the_service_s_own_packages_cannot_be_extended(write: Write, own: str) -> None:
    package = own.partition(".")[0]
    write(f"{own.replace('.', '/')}.py", PREAMBLE)
    expected = f"{own}: {package!r} is a package of the service; yours needs another name"
    assert problem(own) == expected


@pytest.mark.parametrize("name", ["shop/tasks.py", "shop..tasks", ".tasks", "shop tasks", "a:b"])
def test_what_is_no_module_s_name_is_refused(name: str) -> None:
    assert problem(name) == f"{name}: is not the name of a module, such as shop.tasks"


def test_a_module_that_is_not_there_is_named(write: Write, here: Path) -> None:
    places = f"; it is looked for on the import path and in {here}"
    missing = "shop.tasks: ModuleNotFoundError: No module named"
    assert problem("shop.tasks") == f"{missing} 'shop'{places}"
    write("shop/__init__.py", "")
    importlib.invalidate_caches()
    assert problem("shop.tasks") == f"{missing} 'shop.tasks'{places}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "\nimport missing",
            "ModuleNotFoundError: No module named 'missing' ({here}/broken.py, line 2)",
        ),
        ("\ndef (", "SyntaxError: invalid syntax (broken.py, line 2)"),
        ("\nraise ValueError('two\\nlines')", "ValueError: two lines ({here}/broken.py, line 2)"),
        ("raise SystemExit(3)", "SystemExit: 3 ({here}/broken.py, line 1)"),
        ("import os\n\nos.environ['SHOP']", "KeyError: 'SHOP' ({here}/broken.py, line 3)"),
        ("assert False", "AssertionError ({here}/broken.py, line 1)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt ({here}/broken.py, line 1)"),
        (
            PREAMBLE + "A = TaskType('Not A Name', Payload, run)",
            (
                "ValueError: task type 'Not A Name': a name has 1 to 64 of a-z, 0-9, '_', '.' and "
                "'-', the first a letter ({here}/broken.py, line 10)"
            ),
        ),
        (
            PREAMBLE + "\nA = TaskType('a', dict, run)",
            (
                "TypeError: task type 'a': payload must be a pydantic model (a class), not "
                "<class 'dict'> ({here}/broken.py, line 11)"
            ),
        ),
        ("x = 1", "has no TaskType and no Schedule at its top level ({here}/broken.py)"),
        (
            "from afterwards.task_types.email import EMAIL",
            "has no TaskType and no Schedule at its top level ({here}/broken.py)",
        ),
        (
            PREAMBLE + "class B(BaseModel):\n    a: 'Nowhere'\nA = TaskType('a', B, run)",
            "the payload of task type 'a': name 'Nowhere' is not defined",
        ),
        (
            PREAMBLE + "class B(BaseModel):\n    a: 'owners'\nA = TaskType('a', B, run)",
            "the payload of task type 'a': name 'owners' is not defined",
        ),
        (
            PREAMBLE + "A = TaskType('email', Payload, run)",
            "the name 'email' is taken by the service itself; rename one",
        ),
        (
            PREAMBLE + "A = TaskType('a', Payload, run)\nB = TaskType('a', Payload, run)",
            "the name 'a' is taken by broken; rename one",
        ),
    ],
)
def test_a_mistake_in_a_module_is_named_with_its_place(
    write: Write, here: Path, text: str, reason: str
) -> None:
    write("broken.py", text)
    assert problem("broken") == f"broken: {reason.format(here=here)}"


def test_a_payload_may_name_what_the_module_defines_after_the_type(write: Write) -> None:
    late = "class B(BaseModel):\n    c: 'C'\nA = TaskType('a', B, run)\nclass C(BaseModel): pass"
    write("late.py", PREAMBLE + late)
    task_type = load_catalogue(("late",))["a"]
    task_type.payload.model_validate_json('{"c": {}}')


def test_a_module_that_hides_another_one_is_named_with_its_file(write: Write) -> None:
    write("json.py", PREAMBLE + "A = TaskType('a', Payload, run)")
    file = importlib.import_module("json").__file__
    found = f"json: has no TaskType and no Schedule at its top level ({file})"
    assert problem("json") == found


def test_a_name_that_two_modules_have_is_refused_with_both(write: Write) -> None:
    write("one.py", PREAMBLE + "A = TaskType('a', Payload, run)")
    write("two.py", PREAMBLE + "A = TaskType('a', Payload, run)")
    assert problem("one", "two") == "two: the name 'a' is taken by one; rename one"


# -- schedules -----------------------------------------------------------------------------------

SCHEDULED = PREAMBLE + (
    "from afterwards import Schedule\n"
    "A = TaskType('a', Payload, run)\n"
    "NIGHTLY = Schedule('nightly', A, cron='0 3 * * *')\n"
)


def schedules(*modules: str) -> dict[str, list[str]]:
    return {
        module: [one.name for one in found] for module, found in load(modules).schedules.items()
    }


def test_schedules_at_the_top_level_of_a_module_are_there_once(write: Write) -> None:
    write("one.py", SCHEDULED + "AGAIN = NIGHTLY\n")
    write("two.py", "from one import A, NIGHTLY")
    assert schedules("one", "two") == {"one": ["nightly"], "two": []}


def test_a_module_may_have_schedules_and_no_types(write: Write) -> None:
    write("one.py", "from afterwards import Schedule\nA = Schedule('a', 'report', every=60)")
    assert schedules("one") == {"one": ["a"]}


def test_two_schedules_of_one_name_are_refused_with_both_places(write: Write, here: Path) -> None:
    write("one.py", SCHEDULED)
    write("two.py", "from one import A\nfrom afterwards import Schedule\n"
          "X = Schedule('nightly', A, every=60)")  # fmt: skip
    assert problem("one", "two") == (
        f"two: schedule 'nightly': the name is taken by another one ({here}/one.py, line 12); "
        f"rename one ({here}/two.py, line 3)"
    )
