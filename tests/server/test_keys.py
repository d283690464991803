"""`afterwards keys` on the data directory of a service that does not run."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from afterwards.access.keyring import Keyring
from afterwards.access.roles import Grant, Role
from afterwards.cli import main
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.journal.file import journal_path
from afterwards.registry.journal.journal import SqliteJournal
from afterwards.registry.process.lock import DataDirLock
from afterwards.registry.protocol.key_requests import Keys
from afterwards.registry.protocol.requests import Activity, Add, Get
from afterwards.server.keys import will_be_required
from tests.registry.bench import keys_of
from tests.registry.peers import SERVICE, ask, make_task

Run = tuple[int, str, str]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def run(capsys: pytest.CaptureFixture[str], data_dir: Path, *words: str) -> Run:
    status = main(["keys", *words, "--data-dir", str(data_dir)])
    out, err = capsys.readouterr()
    return status, out, err


def ring_of(data_dir: Path) -> Keyring:
    registry = MemoryRegistry(SERVICE, journal=SqliteJournal(journal_path(data_dir)))
    try:
        ring: Keyring = ask(registry, Keys())
    finally:
        registry.close()
    return ring


def test_the_first_key_is_made_before_the_service_ever_ran(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not will_be_required(data_dir, by_file=False)
    words = "--role admin --payloads --type note --label tenant=acme --days 3"
    status, out, _ = run(capsys, data_dir, "create", "root", *words.split())

    assert status == 0
    assert will_be_required(data_dir, by_file=False)
    key = ring_of(data_dir).find(out.strip().encode(), time.time())
    assert key is not None
    assert (key.name, key.principal, key.role, key.payloads) == ("root", "root", Role.ADMIN, True)
    assert (key.types, key.labels) == (frozenset({"note"}), {"tenant": "acme"})
    assert key.expires_at is not None
    assert key.expires_at - key.created_at == pytest.approx(3 * 86_400, abs=60)
    for path in (data_dir, journal_path(data_dir)):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_what_was_done_is_in_the_log_and_no_token_is_anywhere_on_the_disk(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = run(capsys, data_dir, "create", "root", "--role", "admin")[1].strip()
    run(capsys, data_dir, "create", "root", "--role", "viewer")

    registry = MemoryRegistry(SERVICE, journal=SqliteJournal(journal_path(data_dir)))
    refused, made = ask(registry, Activity()).entries
    registry.close()

    assert (made.verb, made.name, made.outcome) == ("create", "root", "done")
    assert made.actor.endswith(" on this machine")
    assert refused.outcome == "refused"
    secret = token[16:]
    for path in data_dir.iterdir():
        assert secret.encode() not in path.read_bytes()


def test_keys_are_listed_rotated_and_revoked(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = run(capsys, data_dir, "create", "m", "--grant", "metrics")[1].strip()
    old_id = old.split("_")[1]
    status, new, _ = run(capsys, data_dir, "rotate", old_id, "--overlap", "600")
    assert status == 0
    ring = ring_of(data_dir)
    for token in (old, new.strip()):
        key = ring.find(token.encode(), time.time())
        assert key is not None
        assert key.grants == {Grant.METRICS}
    assert run(capsys, data_dir, "revoke", old_id)[:2] == (0, "")

    _, out, err = run(capsys, data_dir, "list")

    rows = [line.split("\t") for line in out.splitlines()]
    assert [(row[0], *row[1:4]) for row in rows] == [
        (old_id, "m", "metrics", "revoked"),
        (new.split("_")[1], "m", "metrics", "valid"),
    ]
    assert "keys are required" in err


def test_the_list_says_what_a_key_reaches(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "--role viewer --type report --type note --label tenant=acme --label plan=pro --payloads"
    )
    run(capsys, data_dir, "create", "narrow", *words.split())
    run(capsys, data_dir, "create", "wide", "--role", "viewer")

    _, out, _ = run(capsys, data_dir, "list")

    assert [line.split("\t")[-1] for line in out.splitlines()] == [
        "note,report plan=pro tenant=acme payloads",
        "all types",
    ]


def test_a_key_of_labels_that_no_task_can_have_is_not_made(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nine = [word for number in range(9) for word in ("--label", f"label{number}=x")]
    status, out, err = run(capsys, data_dir, "create", "narrow", "--role", "viewer", *nine)
    assert (status, out) == (2, "")
    assert "may be given for 8 labels at most (got 9)" in err

    with pytest.raises(SystemExit):
        run(capsys, data_dir, "create", "narrow", "--role", "viewer", "--label", "café=x")
    assert "may have letters, digits" in capsys.readouterr().err
    assert not will_be_required(data_dir, by_file=False)


def test_keys_stay_required_until_they_are_turned_off(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = run(capsys, data_dir, "create", "root", "--role", "admin")[1].strip()
    run(capsys, data_dir, "revoke", token.split("_")[1])
    assert will_be_required(data_dir, by_file=False)
    assert run(capsys, data_dir, "off")[0] == 0
    assert not will_be_required(data_dir, by_file=False)


def test_each_verb_says_that_no_service_runs_on_the_directory(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"afterwards: no service runs on {data_dir} now; --data-dir names another data directory"
    _, token, made = run(capsys, data_dir, "create", "root", "--role", "admin")
    key_id = token.split("_")[1]

    assert made.splitlines()[-1] == said
    for words in (["list"], ["rotate", key_id], ["revoke", key_id], ["off"]):
        status, _, err = run(capsys, data_dir, *words)
        assert status == 0, words
        assert err.splitlines()[-1] == said, words


def test_a_backup_from_before_the_first_key_is_not_restored_in_silence(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, file = ["--data-dir", str(data_dir)], str(tmp_path / "backup")
    data_dir.mkdir()
    SqliteJournal(journal_path(data_dir)).close()
    assert main(["backup", file, *words]) == 0
    run(capsys, data_dir, "create", "root", "--role", "admin")

    said = []
    for _ in range(2):
        assert main(["restore", file, *words]) == 0
        said.append("keys were required" in capsys.readouterr().out)
    assert said == [True, False]
    assert not will_be_required(data_dir, by_file=False)


def test_no_task_is_touched(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_dir.mkdir()
    task = make_task()
    registry = MemoryRegistry(SERVICE, journal=SqliteJournal(journal_path(data_dir)))
    ask(registry, Add(task))
    registry.close()

    run(capsys, data_dir, "create", "root", "--role", "admin")

    registry = MemoryRegistry(SERVICE, journal=SqliteJournal(journal_path(data_dir)))
    assert ask(registry, Get(task.id)).state is task.state
    registry.close()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("revoke nosuchkey000", 1, "There is no key with the id 'nosuchkey000'"),
        ("rotate nosuchkey000", 1, "There is no key with the id 'nosuchkey000'"),
    ],
)
def test_a_mistake_is_one_line(
    words: str, status: int, said: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, data_dir, *words.split()) == (status, "", f"afterwards: {said}\n")


@pytest.mark.parametrize(
    "words",
    ["create", "create x", "create x --role public", "create x --role viewer --grant submit",
     "create x --role viewer --label tenant", "create x --role viewer --days soon", ""],
)  # fmt: skip
def test_wrong_arguments_end_with_the_usage(words: str, data_dir: Path) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["keys", *words.split(), "--data-dir", str(data_dir)])
    assert leaving.value.code == 2
    assert not data_dir.exists()


def test_a_directory_that_somebody_works_on_unseen_is_left_alone(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir.mkdir()
    lock = DataDirLock(data_dir)
    assert lock.try_once()
    try:
        status, out, err = run(capsys, data_dir, "create", "root", "--role", "admin")
    finally:
        lock.close()
    assert (status, out) == (1, "")
    assert "is in use by another service" in err
    assert not journal_path(data_dir).exists()


def test_no_key_is_said_to_be_made_for_a_registry_in_memory(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERWARDS_REGISTRY", "memory")
    status, out, err = run(capsys, data_dir, "create", "ann", "--role", "admin")
    assert (status != 0, out) == (True, "")
    assert err.startswith("afterwards: AFTERWARDS_REGISTRY: ")
    assert not data_dir.exists()


def test_a_list_makes_no_directory(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, data_dir, "list")
    assert (status, out) == (0, "")
    assert "keys are not required" in err
    assert not data_dir.exists()


def test_a_token_for_a_file_is_drawn_and_stored_nowhere(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, data_dir, "token")[1].startswith("aw_")
    assert not data_dir.exists()


def test_an_encrypted_journal_is_opened_with_the_keys_of_the_settings(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERWARDS_ENCRYPTION_KEYS", keys_of("k1").text)
    assert run(capsys, data_dir, "create", "root", "--role", "admin")[0] == 0
    assert "root" in run(capsys, data_dir, "list")[1]

    monkeypatch.delenv("AFTERWARDS_ENCRYPTION_KEYS")
    status, _, err = run(capsys, data_dir, "list")

    assert status == 1
    assert "it is encrypted with a key that is not given: k1" in err
