"""Which Dask workers get calls: those that run what the service runs, and no others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from distributed import Client

from afterwards_executors.base import End, Work
from afterwards_executors.cluster.executor import ClusterExecutor
from afterwards_executors.cluster.settings import StationSettings
from afterwards_executors.frames import encode_call
from afterwards_executors.hosts.settings import HostSettings
from loadtests.dask_cluster import DaskCluster
from tests.executors import work
from tests.executors.conftest import is_gone, is_running, wait_until
from tests.executors.dask_cluster import cluster_executor
from tests.executors.test_cluster_losses import outcome_of

pytestmark = [pytest.mark.processes, pytest.mark.machines]

OTHER_VERSION = """
import importlib.metadata
real = importlib.metadata.version
importlib.metadata.version = lambda name: "0.0.0" if name == "afterwards" else real(name)
"""
"""A preload of Dask's: the process believes to have another version."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    directory = tmp_path / "dask"
    directory.mkdir()
    cluster = DaskCluster(directory)
    yield cluster
    cluster.close()


@contextlib.contextmanager
def running(executor: ClusterExecutor) -> Iterator[ClusterExecutor]:
    executor.start()
    try:
        yield executor
    finally:
        executor.shutdown(5.0)


def test_a_worker_with_another_version_gets_no_calls(cluster: DaskCluster, tmp_path: Path) -> None:
    preload = tmp_path / "older.py"
    preload.write_text(OTHER_VERSION)
    cluster.start_worker("--preload", str(preload), name="older")
    with running(cluster_executor(4, cluster=cluster)) as executor:
        wait_until(lambda: "none of 1 Dask workers can run calls" in executor.problem)
        future = executor.submit(Work(work.report_pid))
        assert "this worker has afterwards 0.0.0" in wait_until(lambda: cluster.log("older"))
        assert not future.done()
        cluster.start_worker()
        assert outcome_of(future).end is End.SUCCEEDED
        wait_until(lambda: executor.problem == "")


def test_a_scheduler_with_another_version_gets_no_calls(tmp_path: Path) -> None:
    preload = tmp_path / "older.py"
    preload.write_text(OTHER_VERSION)
    settings = {"DASK_DISTRIBUTED__SCHEDULER__PRELOAD": f'["{preload}"]'}
    cluster = DaskCluster(tmp_path, settings)
    try:
        with running(cluster_executor(4, cluster=cluster)) as executor:
            wait_until(lambda: "the scheduler has afterwards 0.0.0" in executor.problem)
            assert executor.slots().total == 0
    finally:
        cluster.close()


def generation(cluster: DaskCluster, word: str) -> ClusterExecutor:
    return cluster_executor(8, cluster=cluster, **settings_of(word))


def settings_of(word: str) -> dict[str, Any]:
    """Stations whose hosts have this word, in a file and from their preparation."""
    return {
        "files": {"WORD_FILE": word.encode()},
        "prepare": encode_call(work.remember, (word,)),
    }


def test_calls_run_in_the_generation_of_their_submitter(cluster: DaskCluster) -> None:
    cluster.start_worker()
    with running(generation(cluster, "old")) as old, running(generation(cluster, "new")) as new:
        outcomes = [
            outcome_of(executor.submit(Work(work.remembered))) for executor in (old, new, old, new)
        ]

    assert [one.value for one in outcomes] == [b"old old", b"new new"] * 2


def test_a_renewal_reaches_the_cluster_and_leaves_what_runs(
    cluster: DaskCluster, gate: Path
) -> None:
    cluster.start_worker()
    with running(generation(cluster, "old")) as executor:
        wait_until(lambda: executor.slots().total == 8)
        before = executor.submit(Work(work.wait_for, (str(gate),)))
        wait_until(lambda: is_running(gate))
        renewed = generation(cluster, "new")._settings
        executor.renew(renewed)
        assert outcome_of(executor.submit(Work(work.remembered))).value == b"new new"
        assert not before.done()
        gate.touch()
        assert outcome_of(before).end is End.SUCCEEDED


def test_a_station_is_closed_when_its_last_submitter_has_left(cluster: DaskCluster) -> None:
    cluster.start_worker()
    with running(generation(cluster, "new")) as new:
        with running(generation(cluster, "old")) as old:
            wait_until(lambda: old.slots().total == new.slots().total == 8)
        wait_until(lambda: gates(cluster) == {settings_gate(new)})
        assert outcome_of(new.submit(Work(work.remembered))).value == b"new new"


def settings_gate(executor: ClusterExecutor) -> str:
    assert executor._settings.cluster is not None
    return executor._settings.cluster.station.gate


def gates(cluster: DaskCluster) -> set[str]:
    """The stations that the only worker has."""

    def found(dask_worker: Any) -> list[str]:
        return list(dask_worker.extensions["afterwards"]._stations)

    with Client(cluster.address, set_as_default=False) as client:
        (names,) = client.run(found).values()
        return set(names)


def test_the_environment_of_hosts_has_nothing_that_is_hidden(cluster: DaskCluster) -> None:
    cluster.start_worker(SECRET_OF_OURS="a", PLAIN="b")
    with running(cluster_executor(4, cluster=cluster, hidden="SECRET_")) as executor:
        names = outcome_of(executor.submit(Work(work.variables))).value or b""

    assert b"PLAIN" in names.split()
    assert b"SECRET_OF_OURS" not in names.split()


def test_a_gate_is_named_after_all_that_stations_run() -> None:
    gates = {
        StationSettings(**changes).gate
        for changes in (
            {},
            {"version": "0.0.0"},
            {"python": b"other"},
            {"files": {"A": b"b"}},
            {"prepare": b"c"},
            {"max_calls": 3},
        )
    }
    assert len(gates) == 6
    assert StationSettings().gate == StationSettings().gate


def certificate(directory: Path) -> Mapping[str, str]:
    """The settings of Dask's with which all its processes show, and trust, one new certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dask")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca, cert = directory / "ca.pem", directory / "cert.pem"
    ca.write_bytes(made.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    cert.write_bytes(private + ca.read_bytes())
    prefix = "DASK_DISTRIBUTED__COMM__TLS"
    of_roles = {f"{prefix}__{role}__CERT": str(cert) for role in ("SCHEDULER", "WORKER", "CLIENT")}
    return {f"{prefix}__CA_FILE": str(ca), **of_roles}


def test_a_cluster_is_reached_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = certificate(tmp_path)
    cluster = DaskCluster(tmp_path, settings, protocol="tls")
    try:
        assert cluster.address.startswith("tls://")
        cluster.start_worker()
        with running(cluster_executor(4, cluster=cluster)) as stranger:
            wait_until(lambda: "cannot be used" in stranger.problem)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with running(cluster_executor(4, cluster=cluster)) as executor:
            assert outcome_of(executor.submit(Work(work.succeed))).end is End.SUCCEEDED
    finally:
        cluster.close()


def test_hosts_wear_out_as_they_do_at_home(cluster: DaskCluster) -> None:
    cluster.start_worker(threads=1)
    with running(cluster_executor(4, cluster=cluster, max_calls=2)) as executor:
        wait_until(lambda: executor.slots().total == 4)
        pids = [
            int(outcome_of(executor.submit(Work(work.report_pid))).value or b"0") for _ in range(4)
        ]

    assert (pids[0], pids[2]) == (pids[1], pids[3])
    assert pids[0] != pids[2]
    assert all(map(is_gone, pids))


def test_an_executor_without_a_cluster_is_refused() -> None:
    make: Callable[..., ClusterExecutor] = ClusterExecutor
    with pytest.raises(ValueError, match="needs the settings of the cluster"):
        make(4, HostSettings())
