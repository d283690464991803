"""Settings, from the environment. Task code and the shop's own processes know what they need."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SHOP_")

    database: Path


class TaskSettings(_Settings):
    """For the task types, which run in processes of the service."""

    bank_url: str
    bank_key: SecretStr
    carrier_url: str


class ShopSettings(_Settings):
    """For the web application and the relay, which are clients of the service."""

    service_url: str
    service_token: SecretStr
    webhook_secret: SecretStr
