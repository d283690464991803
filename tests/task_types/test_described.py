"""Task modules are described by a child: what comes back, and what a module may do to it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from afterwards.effects.settings import EffectSettings, HttpSettings
from afterwards.errors import ConfigurationError
from afterwards.outgoing.reach import Reach
from afterwards.setting_sources import ENV_FILE
from afterwards.settings import Settings
from afterwards.task_types import CATALOGUE
from afterwards.task_types.base import RateLimit
from afterwards.task_types.described import described
from afterwards.task_types.description import decoded, describe, encoded, in_process
from afterwards.task_types.generations import packed, summary, unpacked
from tests.integration.conftest import wait_for

pytestmark = pytest.mark.processes

PREAMBLE = """\
from datetime import timedelta
from pydantic import BaseModel, Field
from afterwards import RateLimit, TaskType

class Item(BaseModel):
    name: str

class Payload(BaseModel):
    items: list[Item] = []

async def run(payload, context):
    return {}

"""
TYPE = PREAMBLE + "A = TaskType('a', Payload, run)\n"

Write = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(here: Path) -> Write:
    def write(path: str, text: str) -> None:
        (here / path).write_text(text)

    return write


def problem(*modules: str, seconds: float = 60.0) -> str:
    with pytest.raises(ConfigurationError) as caught:
        described(modules, timeout_seconds=seconds)
    assert caught.value.setting == "AFTERWARDS_TASK_MODULES"
    assert "\n" not in caught.value.problem
    return caught.value.problem


def test_without_modules_it_is_what_comes_with_the_service() -> None:
    assert described(()).catalogue == in_process(CATALOGUE)


def test_a_description_says_what_its_type_does_and_nobody_has_imported_its_module(
    write: Write,
) -> None:
    write(
        "described_shop.py",
        PREAMBLE + "A = TaskType('a', Payload, run, timeout=timedelta(minutes=2), max_attempts=7, "
        "max_concurrency=3, rate_limit=RateLimit(5, 2.5), concurrency_per_key=4)",
    )
    catalogue = described(("described_shop",)).catalogue
    assert set(catalogue) == {*CATALOGUE, "a"}
    one = catalogue["a"]
    assert (one.executor, one.payload_name, one.module) == ("async", "Payload", "described_shop")
    assert (one.timeout_seconds, one.max_attempts, one.max_concurrency) == (120.0, 7, 3)
    assert (one.rate_limit, one.concurrency_per_key) == (RateLimit(5, 2.5), 4)
    assert one.model is None
    assert "described_shop" not in sys.modules
    referred = one.schema_with("#/components/schemas/x.")
    assert referred["properties"]["items"]["items"] == {"$ref": "#/components/schemas/x.Item"}
    # As it was described itself, it is unchanged.
    assert one.payload_schema["properties"]["items"]["items"] == {"$ref": "#/$defs/Item"}


def test_a_built_in_type_that_is_off_is_not_there_and_leaves_its_name_to_a_module(
    write: Write,
) -> None:
    write("described_mail.py", PREAMBLE + "A = TaskType('email', Payload, run)")
    found = described(("described_mail",), ("report",))
    assert set(found.catalogue) == {"report", "email"}
    assert found.catalogue["email"].module == "described_mail"
    assert unpacked(packed(found)) == found
    named = "the name 'email' is taken by the service itself; rename one"
    assert named in problem("described_mail")


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_description_is_the_same_after_a_journey(name: str) -> None:
    one = describe(CATALOGUE[name], "shop")
    assert decoded(json.loads(json.dumps(encoded(one)))) == one


def test_a_mistake_is_told_as_the_child_has_found_it(write: Write, here: Path) -> None:
    write("broken.py", "\nimport nowhere")
    reason = f"ModuleNotFoundError: No module named 'nowhere' ({here}/broken.py, line 2)"
    assert problem("broken") == f"broken: {reason}"


def test_a_module_that_ends_its_process_is_named(write: Write) -> None:
    write("fine.py", TYPE)
    write("leaver.py", "import os\nos._exit(3)")
    write("killer.py", "import os\nos.kill(os.getpid(), 9)")
    assert problem("fine", "leaver") == "leaver: ended its process, which exited with status 3"
    assert problem("killer", "fine") == "killer: ended its process, which was killed by SIGKILL"


def test_a_module_that_takes_too_long_is_named_and_nothing_is_left_of_it(
    write: Write, here: Path
) -> None:
    write(
        "sleeper.py",
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(1000)",
    )
    assert problem("sleeper", seconds=3.0) == "sleeper: was not imported within 3 s"
    pids = [int(pid) for pid in (here / "pids").read_text().split()]
    wait_for(lambda: not any(map(runs, pids)), "both have ended")


def test_what_a_module_has_started_does_not_outlive_its_description(
    write: Write, here: Path
) -> None:
    write(
        "starter.py",
        TYPE + "import subprocess, threading, time\n"
        "open('pid', 'w').write(str(subprocess.Popen(['sleep', '1000']).pid))\n"
        "threading.Thread(target=time.sleep, args=[1000]).start()",
    )
    assert "a" in described(("starter",)).catalogue
    wait_for(lambda: not runs(int((here / "pid").read_text())), "it has ended")


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_module_prints_is_no_answer(write: Write) -> None:
    write("printer.py", "print('{\"types\": []}', flush=True)\n" + TYPE)
    assert "a" in described(("printer",)).catalogue


def test_descriptions_have_a_limit(write: Write) -> None:
    write(
        "talker.py",
        TYPE + "class Long(BaseModel):\n    a: str = Field('', description='x' * 5_000_000)\n"
        "B = TaskType('b', Long, run)",
    )
    assert problem("talker") == "talker: its task types have more than 4194304 bytes to say"


def test_a_schema_that_cannot_be_made_is_a_mistake_of_the_module(write: Write) -> None:
    extra = "{'x': object()}"
    write(
        "odd.py",
        TYPE + f"class Odd(BaseModel):\n    model_config = {{'json_schema_extra': {extra}}}\n"
        "B = TaskType('odd', Odd, run)",
    )
    assert problem("odd") == (
        "odd: the payload of task type 'odd' has no JSON Schema: "
        "TypeError: Object of type object is not JSON serializable"
    )


def test_a_module_finds_its_own_settings_and_none_of_the_service_s(
    write: Write, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Settings.model_config, "env_file", ENV_FILE)
    monkeypatch.setenv("AFTERWARDS_DATA_DIR", "secret")
    write(".env", "SHOP_TILL=7\nAFTERWARDS_BIND=secret\n")
    write(
        "configured.py",
        "import os\nassert os.environ['SHOP_TILL'] == '7'\n"
        "assert not any('AFTERWARDS' in name for name in os.environ)\n" + TYPE,
    )
    assert "a" in described(("configured",)).catalogue
    assert "SHOP_TILL" not in os.environ


# -- schedules -----------------------------------------------------------------------------------

SCHEDULED = PREAMBLE.replace("import RateLimit", "import RateLimit, Schedule") + (
    "A = TaskType('a', Payload, run)\n"
)
LINE = len(SCHEDULED.splitlines()) + 1


def test_schedules_are_described_and_packed_with_their_module(write: Write, here: Path) -> None:
    write("described_tick.py", SCHEDULED + "B = Schedule('b', A, {'items': []}, every=60)")
    found = described(("described_tick",))
    [one] = found.schedules
    assert (one.name, one.type, one.module, one.every_seconds) == ("b", "a", "described_tick", 60)
    assert one.place == f"{here}/described_tick.py, line {LINE}"
    assert unpacked(packed(found)) == found


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (
            "Schedule('b', A, {'items': [{}]}, every=60)",
            "its payload: items.0.name: Field required",
        ),
        ("Schedule('b', 'c', every=60)", "there is no task type 'c'; there are a, "),
        ("Schedule('b', 'webhook', every=60)", "there is no task type 'webhook'"),
        ("Schedule('b', 'report', every=60)", "its payload: name: Field required (and 1 more)"),
    ],
)
def test_a_mistake_in_a_schedule_is_told_with_its_file_and_line(
    write: Write, here: Path, declared: str, reason: str
) -> None:
    write("described_bad.py", f"{SCHEDULED}B = {declared}")
    said = problem("described_bad")
    assert said.startswith(f"described_bad: schedule 'b': {reason}")
    assert said.endswith(f"({here}/described_bad.py, line {LINE})")


def test_a_schedule_of_a_built_in_type_is_held_against_the_services_settings(
    write: Write,
) -> None:
    write(
        "described_call.py",
        "from afterwards import Schedule\n"
        "A = Schedule('a', 'http', {'url': 'https://elsewhere.example/'}, every=60)",
    )
    reach = Reach(("shop.example",), frozenset({443}), ())
    effects = EffectSettings(http=HttpSettings(reach=reach))
    assert described(("described_call",)).schedules
    with pytest.raises(ConfigurationError, match=r"its payload: url: .*elsewhere.example"):
        described(("described_call",), effects=effects)


def test_a_summary_names_the_schedules_that_are_gone(write: Write) -> None:
    names = [f"s{number:02}" for number in range(12)]
    lines = [f"{name.upper()} = Schedule('{name}', A, every=60)" for name in names]
    write("described_many.py", SCHEDULED + "\n".join(lines))
    write("described_none.py", SCHEDULED)
    many, none = packed(described(("described_many",))), packed(described(("described_none",)))
    assert summary(many, many) == summary(many, none) == "1 task type, 12 schedules"
    gone = ", ".join(names[:10])
    assert summary(none, many) == (
        f"1 task type; no longer declared, so they make no tasks: {gone} and 2 more"
    )
