"""Executors on a Dask cluster for tests: a real scheduler and real workers."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from afterwards_executors.cluster.executor import ClusterExecutor
from afterwards_executors.cluster.settings import ClusterSettings, StationSettings
from afterwards_executors.hosts.settings import HostSettings
from loadtests.dask_cluster import DaskCluster

LEASE_SECONDS: Final = 3.0

_shared: list[DaskCluster] = []


def shared_cluster() -> DaskCluster:
    """A cluster with one worker, for tests that leave it as it was; started when it is needed."""
    if not _shared:
        cluster = DaskCluster(Path(tempfile.mkdtemp(prefix="dask-")))
        cluster.start_worker()
        _shared.append(cluster)
    return _shared[0]


def close_shared_cluster() -> None:
    """End it, if there is one."""
    while _shared:
        _shared.pop().close()


def cluster_executor(
    slots: int,
    settings: HostSettings | None = None,
    *,
    cluster: DaskCluster | None = None,
    address: str | None = None,
    **station: Any,
) -> ClusterExecutor:
    """An executor on a cluster, not started; with short leases."""
    station = {"lease_seconds": LEASE_SECONDS, **station}
    address = address or (cluster or shared_cluster()).address
    where = ClusterSettings(address, StationSettings(**station))
    return ClusterExecutor(slots, replace(settings or HostSettings(), cluster=where))
