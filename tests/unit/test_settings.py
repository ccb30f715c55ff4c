from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from perfagent.settings import Settings


def test_it_listens_on_loopback_at_the_contracts_port_by_default() -> None:
    assert (Settings().host, Settings().port) == ("127.0.0.1", 8002)


def test_the_environment_sets_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFAGENT_PORT", "9000")
    monkeypatch.setenv("PERFAGENT_DATA", "/var/lib/perfagent")
    assert (Settings().port, Settings().data) == (9000, Path("/var/lib/perfagent"))


@pytest.mark.parametrize(("name", "value"), [("PORT", "70000"), ("SCRAPE_INTERVAL_S", "0"), ("LOG_FORMAT", "xml")])
def test_what_cannot_be_meant_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"PERFAGENT_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_a_secret_is_not_shown() -> None:
    class WithSecret(Settings):
        password: SecretStr = SecretStr("s3cret")

    shown = WithSecret().shown()
    assert "s3cret" not in str(shown)
    assert shown["port"] == 8002


def test_the_databases_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFAGENT_DATABASE_URL", "postgresql://ann:s3cret@db/agents")
    assert Settings().database_url == SecretStr("postgresql://ann:s3cret@db/agents")
    assert Settings().shown()["database_url"] == "**********"


def test_the_servers_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFAGENT_API_KEY", "s3cret")
    assert Settings().api_key == SecretStr("s3cret")
    assert Settings().shown()["api_key"] == "**********"


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())
