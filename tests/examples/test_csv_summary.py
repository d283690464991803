"""The example package, by itself and served."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from afterwards import Cancelled, PermanentError, TransientError
from afterwards.testing import RecordingContext, run_once
from examples.csv_summary.tasks import CSV_SUMMARY, summarise_text
from tests.integration.own_types import serving

EXAMPLES = Path(__file__).parents[2] / "examples"
PRICES = '\ufeffname,price\r\napple,1.5\r\n"pear, green",2.5\r\n\r\nplum,nan\r\n'


@contextmanager
def web_server(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serves `files` by path; a path that is a number answers with that status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            if name.isdigit():
                self.send_error(int(name))
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[name])))
            self.end_headers()
            self.wfile.write(files[name])

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    files = {
        "prices.csv": PRICES.encode(),
        "large.csv": b"n\n" + b"1\n" * 200_000,
        "latin.csv": "name\nbäcker\n".encode("latin-1"),
        "empty.csv": b"",
    }
    with web_server(files) as address:
        yield address


def test_rows_are_counted_and_columns_described() -> None:
    assert summarise_text("n,s\n1,a\n3,b\n") == {
        "rows": 2,
        "columns": {"n": {"min": 1.0, "max": 3.0, "mean": 2.0}, "s": {"distinct": 2}},
    }


def test_a_fetched_file_is_summarised_and_progress_is_made(url: str) -> None:
    context = RecordingContext()
    result = run_once(CSV_SUMMARY, {"url": f"{url}/prices.csv"}, context)

    assert result == {"rows": 3, "columns": {"name": {"distinct": 3}, "price": {"distinct": 3}}}
    assert context.reported == [(0.9, "fetching"), (0.9, "counting")]


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("503", TransientError, "answered 503"),
        ("429", TransientError, "answered 429"),
        ("404", PermanentError, "answered 404"),
        ("latin.csv", PermanentError, "not text in UTF-8"),
        ("empty.csv", PermanentError, "the file is empty"),
    ],
)
def test_errors_that_pass_are_told_from_those_that_do_not(
    url: str, path: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_once(CSV_SUMMARY, {"url": f"{url}/{path}"})


def test_a_server_that_is_not_there_may_come_back() -> None:
    with web_server({}) as address:
        pass
    with pytest.raises(TransientError, match="cannot be reached"):
        run_once(CSV_SUMMARY, {"url": f"{address}/x"})


def test_a_file_that_is_too_large_is_refused(url: str) -> None:
    with pytest.raises(PermanentError, match="more than 1000 bytes"):
        run_once(CSV_SUMMARY, {"url": f"{url}/large.csv", "max_bytes": 1_000})


def test_a_quotation_that_does_not_end_is_no_csv() -> None:
    with pytest.raises(PermanentError, match=r"line \d is no CSV"):
        summarise_text('a,b\n"x')


def test_it_stops_when_it_is_cancelled(url: str) -> None:
    context = RecordingContext()
    context.cancel()
    with pytest.raises(Cancelled):
        run_once(CSV_SUMMARY, {"url": f"{url}/large.csv"}, context)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://example.org/x", "prices.csv"])
def test_only_the_web_is_fetched(address: str) -> None:
    with pytest.raises(ValidationError):
        run_once(CSV_SUMMARY, {"url": address})


def test_the_service_serves_it_as_the_readme_says(tmp_path: Path, url: str) -> None:
    with serving(tmp_path, EXAMPLES, task_modules="csv_summary.tasks") as service:
        payload = {"url": f"{url}/prices.csv"}
        task = service.finished(service.add("csv-summary", "thread", payload))

    assert task["status"] == "success"
    assert task["result"]["rows"] == 3
