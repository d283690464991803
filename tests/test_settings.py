from __future__ import annotations

import base64
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from afterwards.assembly import announce_mail
from afterwards.effects.settings import EffectSettings, WebhookSettings
from afterwards.errors import ConfigurationError
from afterwards.outgoing.reach import Refused
from afterwards.setting_sources import variable
from afterwards.settings import Settings
from afterwards.task_types import CATALOGUE
from afterwards.task_types.described import described
from afterwards.task_types.generations import LiveCatalogue

NUMBERS = [
    name for name, field in Settings.model_fields.items() if type(field.default) in (int, float)
]


def problem(**flags: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(**flags)
    return str(caught.value)


def test_the_defaults_suit_a_laptop() -> None:
    settings = Settings.load()
    assert settings.bind == "127.0.0.1:8000"
    assert settings.workers == 2
    assert settings.data_dir == Path("data").absolute()
    assert settings.cors_origins == ()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings.load().workers = 3  # type: ignore[misc] # the mistake


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "1e999", "many"])
@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_negative_or_not_finite(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), value)
    assert problem().startswith(f"{variable(name)}: must be ")


@pytest.mark.parametrize(
    "address",
    ["8000", ":8000", "host:", "host:port", "host:65536", "::1:8000", "unix:", "host:²"],
)
def test_an_address_has_a_host_and_a_port(address: str) -> None:
    assert problem(bind=address).startswith("--bind: must ")


@pytest.mark.parametrize("address", ["[::1]:8000", "localhost:0", "unix:/run/afterwards.sock"])
def test_addresses_of_other_kinds(address: str) -> None:
    assert Settings.load(bind=address).bind == address


def test_the_memory_registry_has_one_worker() -> None:
    assert Settings.load(registry="memory").workers == 1
    assert Settings.load(registry="memory", workers="1").workers == 1


def test_more_workers_for_the_memory_registry_are_refused_to_whoever_asked_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    what = "must be 1 with the memory registry"
    assert problem(registry="memory", workers="3") == f"--workers: {what} (got 3)"
    monkeypatch.setenv("AFTERWARDS_WORKERS", "2")
    assert problem(registry="memory") == f"AFTERWARDS_WORKERS: {what} (got 2)"


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_CORS_ORIGINS", " https://A.example, http://b.example:81/ ,")
    assert Settings.load().cors_origins == ("https://a.example", "http://b.example:81")


@pytest.mark.parametrize("origin", ["a.example", "ftp://a.example", "https://a.example/path"])
def test_an_origin_is_a_scheme_and_a_host(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_CORS_ORIGINS", origin)
    assert problem().startswith("AFTERWARDS_CORS_ORIGINS: must be origins")


@pytest.mark.parametrize(
    "host", ["a.example:80", "https://a.example", "*.a.example", "a..b", "[::1]"]
)
def test_a_host_is_a_name_without_anything_else(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_ALLOWED_HOSTS", host)
    assert problem().startswith("AFTERWARDS_ALLOWED_HOSTS: must be names")


def test_hosts_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_ALLOWED_HOSTS", "api, my_service,tasks.example.org.,*")
    assert Settings.load().allowed_hosts == ("api", "my_service", "tasks.example.org.", "*")


@pytest.mark.parametrize("network", ["10.0.0.1/8", "nginx", "10.0.0.256"])
def test_a_trusted_proxy_is_an_address_or_a_network(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERWARDS_TRUSTED_PROXIES", f"10.0.0.0/8,{network}")
    assert problem().startswith("AFTERWARDS_TRUSTED_PROXIES: must be addresses or networks")


def test_a_member_has_a_plain_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_REDACTED_NAMES", "token,pass word")
    assert problem().startswith("AFTERWARDS_REDACTED_NAMES: must be names of letters")


def test_built_in_task_types_are_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().built_in == ("notification", "report", "file", "email", "webhook")
    monkeypatch.setenv("AFTERWARDS_BUILTIN_TYPES", "file, email,file")
    assert Settings.load().built_in == ("file", "email", "webhook")
    monkeypatch.setenv("AFTERWARDS_BUILTIN_TYPES", "none")
    assert Settings.load().built_in == ("webhook",)
    monkeypatch.setenv("AFTERWARDS_BUILTIN_TYPES", "file,mail")
    assert problem().startswith("AFTERWARDS_BUILTIN_TYPES: must be 'notification', 'report'")


def test_the_setting_knows_every_built_in_task_type() -> None:
    field = Settings.model_fields["builtin_types"]
    # Webhooks are there in any case.
    assert {*get_args(get_args(field.annotation)[0]), "webhook"} == set(CATALOGUE)


@pytest.mark.parametrize("host", ["https://example.com", "example.com:80", "a.*.com", "*example"])
def test_a_host_of_requests_is_a_name_or_a_domain(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERWARDS_HTTP_HOSTS", f"api.example.com,{host}")
    assert problem().startswith("AFTERWARDS_HTTP_HOSTS: must be names like api.example.com")


def test_the_hosts_of_requests_are_compared_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_HTTP_HOSTS", "API.example.com.,*.Example.org,8.8.8.8,::1")
    found = Settings.load().effects.http
    assert found is not None
    assert found.reach.hosts == ("api.example.com", "*.example.org", "8.8.8.8", "::1")


def test_a_port_of_requests_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_HTTP_PORTS", "443,8443")
    assert Settings.load().http_ports == (443, 8443)
    monkeypatch.setenv("AFTERWARDS_HTTP_PORTS", "443,https")
    assert problem().startswith("AFTERWARDS_HTTP_PORTS: must be a valid integer")


@pytest.mark.parametrize("address", ["proxy:3128", "http://u:hidden@proxy", "socks5://proxy:1080"])
def test_the_proxy_of_requests_is_an_address_that_is_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERWARDS_HTTP_PROXY", address)
    assert (
        problem() == "AFTERWARDS_HTTP_PROXY: must be an address with a port, like http://proxy:3128"
    )
    monkeypatch.setenv("AFTERWARDS_HTTP_PROXY", "http://u:hidden@proxy:3128")
    monkeypatch.setenv("AFTERWARDS_HTTP_HOSTS", "*")
    settings = Settings.load()
    assert "hidden" not in repr(settings) + repr(settings.effects)


def test_without_hosts_webhooks_are_the_only_effect() -> None:
    found = Settings.load().effects
    assert (found.http, found.mail) == (None, None)
    assert found.types == {"webhook"}
    assert EffectSettings().types == frozenset()


def webhooks() -> WebhookSettings:
    found = Settings.load().effects.webhooks
    assert found is not None
    return found


def test_webhooks_may_go_to_all_public_hosts_or_to_those_that_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert webhooks().reach.hosts == ("*",)
    monkeypatch.setenv("AFTERWARDS_WEBHOOK_HOSTS", "*.example.com")
    monkeypatch.setenv("AFTERWARDS_HTTP_NETWORKS", "10.1.0.0/16")
    reach = webhooks().reach
    assert [str(network) for network in reach.networks] == ["10.1.0.0/16"]
    with pytest.raises(Refused, match="AFTERWARDS_WEBHOOK_HOSTS lists them"):
        reach.target("https://example.org/")


def test_secrets_of_webhooks_are_checked_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (f"whsec_{base64.b64encode(bytes(size)).decode()}" for size in (24, 64))
    monkeypatch.setenv("AFTERWARDS_WEBHOOK_SECRETS", f"{one}, {other}")
    found = Settings.load()
    assert webhooks().secrets == (one, other)
    assert one not in repr(found)
    assert one not in repr(found.effects)
    monkeypatch.setenv("AFTERWARDS_WEBHOOK_SECRETS", f"{one},whsec_secret")
    said = problem()
    assert said.startswith("AFTERWARDS_WEBHOOK_SECRETS: a secret is whsec_ and 24 to 64 bytes")
    assert "whsec_secret" not in said


def test_a_list_may_be_given_as_one() -> None:
    assert Settings(cors_origins=("*",)).cors_origins == ("*",)


def test_the_home_directory_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Settings.load(data_dir="~/tasks").data_dir == Path("/home/somebody/tasks")


def test_words_are_understood_in_upper_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_LOG_LEVEL", "WARNING")
    assert Settings.load().log_level == "warning"


@pytest.mark.parametrize("value", ["/tasks-service", "/tasks-service/", "/a/b~1"])
def test_a_root_path_is_a_path_without_its_last_slash(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("AFTERWARDS_ROOT_PATH", value)
    assert Settings.load().root_path == value.rstrip("/")


@pytest.mark.parametrize("value", ["tasks", "//evil.example", "/a?b", "https://example.org/a"])
def test_a_root_path_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AFTERWARDS_ROOT_PATH", value)
    line = f"AFTERWARDS_ROOT_PATH: must be a path like /tasks-service (got {value!r})"
    assert problem() == line


@pytest.fixture
def with_mail(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("AFTERWARDS_SMTP_URL", "smtp+starttls://jo:hidden@mail.example")
    monkeypatch.setenv("AFTERWARDS_MAIL_FROM", "Shop <no-reply@example.com>")
    return monkeypatch


def mail_problem() -> str:
    with pytest.raises(ConfigurationError) as caught:
        _ = Settings.load().effects
    return str(caught.value)


def test_mail_is_simulated_without_a_server() -> None:
    assert Settings.load().effects.mail is None


def test_the_settings_of_mail_show_no_password(with_mail: pytest.MonkeyPatch) -> None:
    settings = Settings.load()
    mail = settings.effects.mail
    assert mail is not None
    assert mail.server.password == "hidden"
    assert "hidden" not in repr(settings) + repr(settings.effects) + str(mail)
    with_mail.setenv("AFTERWARDS_SMTP_URL", "smtp://jo:hidden/x@mail.example")
    assert problem().startswith("AFTERWARDS_SMTP_URL: must be smtp://")
    assert "hidden" not in problem()


def test_mail_needs_a_sender(with_mail: pytest.MonkeyPatch) -> None:
    with_mail.setenv("AFTERWARDS_MAIL_FROM", "Shop")
    assert problem().startswith("AFTERWARDS_MAIL_FROM: must be an address, or Name <address>")
    with_mail.delenv("AFTERWARDS_MAIL_FROM")
    assert mail_problem().startswith("AFTERWARDS_MAIL_FROM: must be set")


def test_the_subject_of_notifications_is_one_line(with_mail: pytest.MonkeyPatch) -> None:
    with_mail.setenv("AFTERWARDS_NOTIFICATION_SUBJECT", "Hello\nBcc: jo@example.com")
    assert problem().startswith("AFTERWARDS_NOTIFICATION_SUBJECT: must be one line")


def test_no_more_mails_run_at_once_than_workers_have_connections(
    with_mail: pytest.MonkeyPatch,
) -> None:
    with_mail.setenv("AFTERWARDS_WORKERS", "3")
    settings = Settings.load()
    described_now = described((), settings.built_in).catalogue
    catalogue = LiveCatalogue(described_now, settings.effects)
    # Newer task code takes no limit away.
    catalogue.renew(described_now)
    limits = {name: most for name, one in catalogue.items() if (most := one.max_concurrency)}
    assert limits == {"notification": 12, "email": 12}


def test_the_start_says_that_mail_is_simulated(with_mail: pytest.MonkeyPatch) -> None:
    with capture_logs() as lines:
        announce_mail(Settings.load())
        assert lines == []
        with_mail.delenv("AFTERWARDS_SMTP_URL")
        announce_mail(Settings.load())
    (line,) = lines
    assert line["event"] == "mail is simulated: AFTERWARDS_SMTP_URL is not set"


def test_the_address_of_a_database_has_no_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("dragon & co\n")
    address = "postgresql://me@db.example/tasks?sslmode=require"
    chosen = Settings.load(registry=address, registry_password_file=str(file))

    assert chosen.in_database
    assert chosen.database() == f"{address}&password=dragon%20%26%20co"
    for wrong in ("postgresql://me:dragon@db/tasks", "postgresql://db/tasks?password=dragon"):
        said = problem(registry=wrong)
        assert "AFTERWARDS_REGISTRY_PASSWORD_FILE" in said
        assert "dragon" not in said
    assert problem(registry="mysql://db/tasks").startswith("--registry: must be manager, memory, ")
