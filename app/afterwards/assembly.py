"""The parts of a service, as its settings say: what each is made of, and nothing started yet."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from afterwards import __version__
from afterwards.effects.settings import MAIL_TYPES
from afterwards.execution.attempt import prepare
from afterwards.execution.executors import Executors
from afterwards.execution.host_log import HostLog
from afterwards.logs import get_logger
from afterwards.registry.client.worker_side import TaskCode
from afterwards.registry.process import first_key
from afterwards.registry.process.access import Access, RegistryConfig
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import TypeLimits
from afterwards.service.validator import Validator
from afterwards.setting_sources import PREFIX
from afterwards.settings import Settings
from afterwards.system.child_environment import child_environment
from afterwards.task_types.base import Environment
from afterwards.task_types.described import Described, described
from afterwards.task_types.description import Catalogue, TypeDescription
from afterwards.task_types.generations import LiveCatalogue
from afterwards.task_types.snapshot import VARIABLE, CodeFile
from afterwards.task_types.validating import MAX_ANSWER_BYTES
from afterwards.traces.base import Traces
from afterwards_executors import EXECUTORS, IN_PROCESS
from afterwards_executors.base import HostedExecutor
from afterwards_executors.frames import encode_call
from afterwards_executors.hosts.settings import HostSettings

if TYPE_CHECKING:
    from afterwards_executors.cluster.settings import ClusterSettings

log = get_logger(__name__)

_LINGER_MARGIN_SECONDS: Final = 15.0


def executors(
    settings: Settings,
    hosts: HostSettings,
    log: HostLog,
    cluster_changed: Callable[[], None] = lambda: None,
) -> Executors:
    """The executors of a worker, not started.

    Args:
        cluster_changed: called when a Dask cluster has more room, or less. Must not wait.
    """
    slots = {
        "async": settings.async_slots,
        "thread": settings.thread_slots,
        "process": settings.process_slots,
    }
    hosted = {kind: make(slots[kind], hosts) for kind, make in EXECUTORS.items()}
    problem: Callable[[], str] = str
    if settings.dask_scheduler:
        # By name: a worker without a cluster loads nothing of it.
        module = importlib.import_module("afterwards_executors.cluster.executor")
        cluster = module.ClusterExecutor(settings.dask_slots, hosts, cluster_changed)
        hosted["dask"] = cluster
        problem = partial(getattr, cluster, "problem")
    return Executors(
        hosted,
        {kind: make(slots[kind]) for kind, make in IN_PROCESS.items()},
        settings.built_in,
        *_effects_executor(settings, log),
        cluster=problem,
    )


def _effects_executor(
    settings: Settings, log: HostLog
) -> tuple[HostedExecutor | None, frozenset[str]]:
    """The executor of effects, and the task types that it runs."""
    effects = settings.effects
    types = effects.types & set(settings.built_in)
    if not types:
        return None, types
    # It runs no task code, which alone is handed over and may leave orphans.
    hosts = replace(
        _common_to_hosts(settings, log),
        prepare=(prepare, (replace(environment(settings), task_modules=()), effects)),
    )
    return EXECUTORS["async"](settings.async_slots, hosts), types


def validator(settings: Settings, hosts: HostSettings) -> Validator | None:
    """The validator of payloads of users' task types, not started; None: there are none."""
    if not settings.task_modules:
        return None
    # Kept, and never worn by what it does: it runs nothing else.
    kept = replace(hosts, keep=1, max_calls=None, max_value_bytes=MAX_ANSWER_BYTES)
    code = (settings.task_modules, settings.built_in)
    return Validator(EXECUTORS["process"](1, kept), code)


def host_settings(
    settings: Settings, code: CodeFile, log: HostLog, contents: bytes = b""
) -> HostSettings:
    """The settings with which hosts of task code are started from now on.

    Args:
        contents: of the code file, for hosts on other machines.
    """
    common = _common_to_hosts(settings, log)
    return replace(
        common,
        environment={**common.environment, **code.environment},
        handover_seconds=settings.handover_seconds,
        adopts_orphans=True,
        cluster=_cluster(settings, contents) if settings.dask_scheduler else None,
        prepare=(prepare, (environment(settings),)),
    )


def _common_to_hosts(settings: Settings, log: HostLog) -> HostSettings:
    """The settings of hosts of task code and of the host of effects."""
    return HostSettings(
        environment=child_environment(),
        max_value_bytes=settings.max_result_bytes,
        overdue_seconds=settings.overdue_seconds,
        blocked_seconds=settings.blocked_seconds,
        max_calls=settings.host_max_attempts or None,
        max_memory_bytes=settings.host_max_memory_bytes or None,
        is_terminal=sys.stderr.isatty(),
        listener=log,
    )


def _cluster(settings: Settings, code: bytes) -> ClusterSettings:
    module = importlib.import_module("afterwards_executors.cluster.settings")
    station = module.StationSettings(
        version=__version__,
        files={VARIABLE: code},
        prepare=encode_call(prepare, (environment(settings),)),
        hidden=PREFIX,
        lease_seconds=settings.lease_seconds,
        max_value_bytes=settings.max_result_bytes,
        max_calls=settings.host_max_attempts or None,
        max_memory_bytes=settings.host_max_memory_bytes or None,
    )
    made: ClusterSettings = module.ClusterSettings(settings.dask_scheduler, station)
    return made


def describe_types(settings: Settings) -> Described:
    """Have the task modules of the settings described. Blocks. Raises as `described`."""
    has_cluster = bool(settings.dask_scheduler)
    return described(
        settings.task_modules,
        settings.built_in,
        effects=settings.effects,
        has_cluster=has_cluster,
    )


def live_catalogue(settings: Settings, catalogue: Catalogue) -> LiveCatalogue:
    """The task types of a worker, as the settings have them."""
    on_cluster = settings.dask_scheduler and settings.dask_takes_processes
    return LiveCatalogue(
        catalogue, settings.effects, processes_run_on="dask" if on_cluster else "process"
    )


def environment(settings: Settings) -> Environment:
    """The settings that task types get to know."""
    return Environment(
        output_dir=settings.output_dir.absolute(),
        notification_delay_seconds=settings.notification_delay_seconds,
        report_delay_seconds=settings.report_delay_seconds,
        file_delay_seconds=settings.file_delay_seconds,
        email_delay_seconds=settings.email_delay_seconds,
        max_result_bytes=settings.max_result_bytes,
        max_artifact_bytes=settings.max_artifact_bytes,
        log_level=settings.log_level,
        log_format=settings.log_format,
        task_modules=settings.task_modules,
        built_in=settings.built_in,
    )


def announce_mail(settings: Settings) -> None:
    """Say once, at the start, that mail is simulated, or that a password travels in the open.

    Raises:
        ConfigurationError: the settings of mail do not fit together.
    """
    mail = settings.effects.mail
    if MAIL_TYPES.isdisjoint(settings.built_in):
        return
    if mail is None:
        log.info("mail is simulated: AFTERWARDS_SMTP_URL is not set")
    elif mail.server.password is not None and mail.server.security == "none":
        log.warning(
            "the login at the mail server is not encrypted; smtps or smtp+starttls would do that",
            server=str(mail.server),
        )


def traces(settings: Settings, worker: Worker) -> Traces | None:
    """The maker and sender of this worker's traces; None: they are off.

    A value that OpenTelemetry does not take costs the traces, and nothing else.
    """
    if not settings.otlp_endpoint or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    # By name: a worker without traces loads nothing of OpenTelemetry's.
    tracer = importlib.import_module("afterwards.traces.tracer")
    try:
        made: Traces = tracer.Tracer(settings.otlp_endpoint, str(worker))
    except ValueError as error:
        log.error("a variable OTEL_… has a wrong value; there are no traces", error=str(error))
        return None
    return made


def task_code(catalogue: Catalogue, generation: int) -> TaskCode:
    """The task code of a worker with these task types."""
    theirs = frozenset(name for name, one in catalogue.items() if one.module is not None)
    return TaskCode(frozenset(catalogue), theirs, generation, limits(catalogue))


def limits(catalogue: Catalogue) -> dict[str, TypeLimits]:
    """The limits of those task types that have others than most."""
    of_types = {name: _limits_of(task_type) for name, task_type in catalogue.items()}
    return {name: limits for name, limits in of_types.items() if limits != TypeLimits()}


def _limits_of(task_type: TypeDescription) -> TypeLimits:
    limits = TypeLimits(
        task_type.max_concurrency, concurrency_per_key=task_type.concurrency_per_key
    )
    rate = task_type.rate_limit
    if rate is None:
        return limits
    return limits._replace(rate_count=rate.count, rate_seconds=rate.period_seconds)


def database_access(settings: Settings, service: str) -> Access:
    """The way of a worker of this service to the registry in PostgreSQL.

    Raises:
        ConfigurationError: the file with the password cannot be used.
    """
    # By name: a worker without a database loads nothing of it.
    module = importlib.import_module("afterwards.registry.postgresql.access")
    acceptance = importlib.import_module("afterwards.registry.state.acceptance")
    link = module.Link(
        settings.database(),
        service,
        acceptance.Limits(
            settings.max_pending, settings.max_pending_bytes, lease_seconds=settings.lease_seconds
        ),
        module.Ages(settings.retention_hours * 3600, settings.activity_days * 86_400),
        partial(first_key.provide, path=settings.first_key_file),
    )
    return Access(service, link.connect, link.close)


def registry_config(settings: Settings) -> RegistryConfig:
    """The settings that the registry process gets to know.

    Raises:
        ConfigurationError: the file with the journal's keys cannot be used.
    """
    return RegistryConfig(
        data_dir=str(settings.data_dir.absolute()),
        max_pending=settings.max_pending,
        max_pending_bytes=settings.max_pending_bytes,
        lease_seconds=settings.lease_seconds,
        retention_hours=settings.retention_hours,
        activity_days=settings.activity_days,
        first_key_file=settings.first_key_file,
        output_dir=str(settings.output_dir.absolute()),
        keys=settings.journal_keys(),
        clock_confirmed=settings.clock_confirmed,
        # After the grace of the attempts, their workers stop executors and flush their reports.
        linger_seconds=settings.grace_seconds + _LINGER_MARGIN_SECONDS,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
