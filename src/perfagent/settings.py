"""What can be set from outside: environment variables `PERFAGENT_…`, each with a default that works."""

from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from perfagent.workflows.leadership import LEASE_S


class Settings(BaseSettings):
    """How the agent runs. `PERFAGENT_PORT=9000` sets `port`; unknown names given in code are refused."""

    model_config = SettingsConfigDict(env_prefix="PERFAGENT_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8002, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data: Path = Field(Path("perfagent-data"), description="Folder of the SQLite database.")
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL in place of SQLite, for agents on several machines: postgresql://user@host/name."
    )
    services: Path | None = Field(None, description="Services file: what to look after, and engines to run here.")
    lease_s: float = Field(
        LEASE_S, ge=1, le=3600, description="Seconds after which another agent takes over from one that died."
    )
    scrape_interval_s: float = Field(5.0, gt=0, le=3600, description="Seconds between two scrapes of one replica.")
    scrape_timeout_s: float = Field(10.0, gt=0, le=300, description="Longest time for one scrape, whatever it does.")
    scrape_max_bytes: int = Field(8 << 20, ge=1024, le=1 << 30, description="Largest page that is read, unpacked.")
    window_s: float = Field(300.0, gt=0, le=86_400, description="How far back a diagnosis looks, in seconds.")
    prompts: Path | None = Field(
        None, description='JSON lines, {"prompt": "…"}, that replicas are asked where a change may alter answers.'
    )
    api_key: SecretStr | None = Field(None, description="Bearer token that servers want before they answer a prompt.")
    mlflow_uri: SecretStr | None = Field(
        None, description="MLflow tracking server or database (sqlite:///…) that the ledger is copied to."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line written.")
    log_format: Literal["console", "json"] = Field("console", description="Log lines for people or for machines.")

    def shown(self) -> dict[str, JsonValue]:
        """Every setting as JSON, secrets masked: pydantic writes a `SecretStr` as asterisks."""
        return self.model_dump(mode="json")
