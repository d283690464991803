"""The Compose file, as far as it can be judged without an engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afterwards.setting_sources import variable
from afterwards.settings import Settings
from tests.deploy.files import COMPOSE, DEPLOY, read_yaml

FILE = read_yaml(COMPOSE)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
NETWORKS: dict[str, Any] = FILE["networks"]
SAID_BY_THE_IMAGE = {"AFTERWARDS_BIND", "AFTERWARDS_DATA_DIR", "AFTERWARDS_OUTPUT_DIR"}
SETTINGS = {variable(name) for name in Settings.model_fields} - SAID_BY_THE_IMAGE


def test_it_is_a_compose_file() -> None:
    check = [str(Path(sys.executable).with_name("check-jsonschema"))]
    check += ["--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    run = subprocess.run(check, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_with_keys_prometheus_differs_by_its_configuration_alone() -> None:
    keys = read_yaml(DEPLOY / "docker-compose.keys.yml")
    assert list(keys) == ["services"]
    with_key = {"prometheus": {"command": [
        part.replace("/prometheus.yml", "/prometheus.keys.yml")
        for part in SERVICES["prometheus"]["command"]
    ]}}  # fmt: skip
    assert keys["services"] == with_key


def test_every_setting_is_passed_on() -> None:
    names = {entry.partition("=")[0] for entry in SERVICES["api"]["environment"]}
    assert names == SETTINGS | {"REQUEST_TIMEOUT"}


def test_the_names_that_the_others_call_it_by_are_its_own() -> None:
    [hosts] = re.findall(r"AFTERWARDS_ALLOWED_HOSTS:-([^}]*)\}", COMPOSE.read_text())
    assert SERVICES["locust"]["environment"]["LOCUST_HOST"] == f"http://{hosts}:8000"
    assert f"{hosts}:8000" in (DEPLOY / "prometheus" / "prometheus.yml").read_text()


def test_the_example_file_has_every_setting_and_every_variable_of_the_compose_file() -> None:
    example = re.findall(r"^# ([A-Z_]+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE)
    variables = re.findall(r"\$\{([A-Z_]+):-", COMPOSE.read_text())
    assert set(example) == SETTINGS | set(variables)
    assert len(example) == len(set(example))


def written_as(value: object) -> str:
    if isinstance(value, tuple) and value:
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_example_file_s_values_are_the_defaults() -> None:
    example = re.findall(r"^# ([A-Z_]+)=(.*)", (DEPLOY / ".env.example").read_text(), re.MULTILINE)
    written = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", COMPOSE.read_text()))
    defaults = {variable(n): written_as(f.default) for n, f in Settings.model_fields.items()}
    defaults |= written
    differ = {name for name, value in example if value != defaults[name].removesuffix(".0")}
    without = (
        "CORS_ORIGINS",
        "DASK_SCHEDULER",
        "DASK_TAKES_PROCESSES",
        "ENCRYPTION_KEYS",
        "ENCRYPTION_KEYS_FILE",
        "FIRST_KEY_FILE",
        "HTTP_HOSTS",
        "HTTP_NETWORKS",
        "HTTP_PROXY",
        "MAIL_FROM",
        "OTLP_ENDPOINT",
        "REGISTRY_PASSWORD_FILE",
        "ROOT_PATH",
        "SECRETS_FILE",
        "SMTP_PASSWORD_FILE",
        "SMTP_URL",
        "TASK_MODULES",
        "TRACE_LINK",
        "WEBHOOK_SECRETS",
    )
    assert differ == {f"AFTERWARDS_{name}" for name in (*without, "TRUSTED_PROXIES")}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_reached_from_this_machine_only_and_is_kept_small(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"]
    assert {"cpus", "memory", "pids"} == set(service["deploy"]["resources"]["limits"])


OURS = {"api", "dask-scheduler", "dask-worker"}
"""They run the image of the service."""


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_runs_the_service_s_image_has_it_built(name: str) -> None:
    assert SERVICES[name]["build"] == SERVICES["api"]["build"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - OURS))
def test_an_image_that_is_pulled_has_its_version(name: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


def test_the_service_is_waited_for_longer_than_it_may_take_to_stop() -> None:
    grace = re.fullmatch(r"\$\{API_STOP_GRACE:-(\d+)s\}", SERVICES["api"]["stop_grace_period"])
    assert grace is not None
    assert int(grace[1]) > Settings.model_fields["grace_seconds"].default + 25


def test_what_has_to_be_there_first_is_waited_for() -> None:
    first = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    healthy = {"condition": "service_healthy"}
    assert first == {
        "api": {},
        "prometheus": {"api": healthy},
        "grafana": {"prometheus": healthy},
        "locust": {"api": healthy},
        "dask-scheduler": {},
        "dask-worker": {"dask-scheduler": healthy},
    }


def test_a_service_is_known_to_be_healthy_or_not() -> None:
    assert {n for n, service in SERVICES.items() if "healthcheck" not in service} == {"api"}
    assert "\nHEALTHCHECK " in (DEPLOY / "Dockerfile").read_text()


def reached_by(name: str) -> set[str]:
    mine = set(SERVICES[name]["networks"])
    return {other for other, service in SERVICES.items() if mine & set(service["networks"])} - {
        name
    }


def test_a_service_reaches_only_what_it_asks() -> None:
    assert reached_by("grafana") == {"prometheus"}
    assert reached_by("locust") == {"api"}
    assert reached_by("prometheus") == {"api", "grafana"}


def test_what_is_scraped_leads_nowhere_else() -> None:
    shared = set(SERVICES["api"]["networks"]) & set(SERVICES["prometheus"]["networks"])
    assert [NETWORKS[name] for name in shared] == [{"internal": True}]


START = DEPLOY / "grafana" / "start.sh"


def password_of_grafana(directory: Path, given: str = "") -> str:
    """The password that Grafana would be started with."""
    environment = {"GF_PATHS_DATA": str(directory), "GF_SECURITY_ADMIN_PASSWORD": given}
    command = ["sh", str(START), "sh", "-c", 'printf %s "$GF_SECURITY_ADMIN_PASSWORD"']
    run = subprocess.run(
        command, env=environment | {"PATH": os.environ["PATH"]}, check=True, capture_output=True
    )
    return run.stdout.decode()


def test_grafana_has_no_default_password(tmp_path: Path) -> None:
    service = SERVICES["grafana"]
    assert service["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == "${GRAFANA_ADMIN_PASSWORD:-}"
    script = service["entrypoint"][1]
    assert f"./grafana/{START.name}:{script}:ro" in service["volumes"]

    (other := tmp_path / "other").mkdir()
    made, others = password_of_grafana(tmp_path), password_of_grafana(other)
    assert len(made) >= 32
    assert made != others
    assert password_of_grafana(tmp_path) == made
    file = other / "admin-password"
    assert file.read_text().strip() == others
    assert file.stat().st_mode & 0o077 == 0


def test_grafana_takes_the_password_that_it_is_given(tmp_path: Path) -> None:
    assert password_of_grafana(tmp_path, "mine") == "mine"
    assert not list(tmp_path.iterdir())


def test_nobody_sees_the_dashboard_without_a_login_unless_that_is_asked_for() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "${GRAFANA_ANONYMOUS:-false}"


def test_load_is_made_only_when_asked_for() -> None:
    profiles = {n: service.get("profiles", []) for n, service in SERVICES.items()}
    assert [n for n, names in profiles.items() if "load" in names] == ["locust"]


def test_a_cluster_is_started_only_when_asked_for() -> None:
    profiles = {n: service.get("profiles", []) for n, service in SERVICES.items()}
    assert [n for n, names in profiles.items() if "dask" in names] == [
        "dask-scheduler",
        "dask-worker",
    ]
    failures = "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"
    assert SERVICES["dask-scheduler"]["environment"][failures] == "0"
