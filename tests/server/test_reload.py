"""`afterwards reload`, where it can ask no service."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from afterwards.errors import NotReloaded
from afterwards.registry.protocol.incarnation import birth, boot_id
from afterwards.server import reload as module
from afterwards.server.reload import FILE, ReloadFile, reload


def record(directory: Path, **members: object) -> None:
    ReloadFile(directory).open()
    path = directory / FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **members}))


@pytest.mark.parametrize("content", [None, "", "[]", '{"pid": 1}', "another process"])
def test_no_process_is_signalled_that_is_not_the_service(
    tmp_path: Path, content: str | None
) -> None:
    # SIGHUP would end the process of the tests.
    if content == "another process":
        record(tmp_path, born=0)
    elif content is not None:
        (tmp_path / FILE).write_text(content)
        (tmp_path / FILE).chmod(0o600)
    with pytest.raises(NotReloaded, match="no service that `afterwards serve` has started"):
        reload(tmp_path)


def test_a_service_that_proc_hides_is_named_and_not_signalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, born=birth(os.getpid()), boot=boot_id())
    monkeypatch.setattr(module, "birth", lambda _: None)
    monkeypatch.setattr(module, "runs", lambda *_: False)
    with pytest.raises(NotReloaded, match=f"kill -HUP {os.getpid()}"):
        reload(tmp_path)
