"""What the api reads from its environment, all of it checked before anything connects."""

from __future__ import annotations

import string
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from events.database_url import DatabaseUrl
from events.topics import LogSettings
from services.api.http.client_address import is_everybody
from services.api.http.connections import DEFAULT_LIMITS
from services.api.key_material import Pepper
from services.api.validation.addresses import parse_networks

MIN_TOKEN_LENGTH = 16
MIN_PEPPER_LENGTH = 32

#: Parts of the values that examples and tutorials carry.
_PLACEHOLDERS = ("changeme", "change-me", "change_me", "placeholder", "your-admin-token", "your_admin_token")

_VISIBLE = frozenset(string.ascii_letters + string.digits + string.punctuation) - {","}


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


def _check_token(token: str) -> str:
    if len(token) < MIN_TOKEN_LENGTH:
        raise ValueError(f"a token needs at least {MIN_TOKEN_LENGTH} characters")
    if not set(token) <= _VISIBLE:
        raise ValueError("a token is made of visible ASCII characters without commas")
    if len(set(token)) < 4 or any(part in token.lower() for part in _PLACEHOLDERS):
        raise ValueError("a token must not be a default or a placeholder")
    return token


def _check_proxy(entry: str) -> str:
    try:
        (network,) = parse_networks([entry])
    except ValueError:
        raise ValueError("a trusted proxy is an address or a CIDR network") from None
    if is_everybody(network):
        raise ValueError("to trust every address would let callers choose their own")
    return entry


def _read_pepper(text: object) -> object:
    if not isinstance(text, str):
        return text
    name, _, secret = text.partition(":")
    if not name or len(secret) < MIN_PEPPER_LENGTH:
        raise ValueError(
            f"each pepper is written id:secret, the secret of {MIN_PEPPER_LENGTH} characters or more"
        )
    if len(name) > 64 or not set(name) <= _VISIBLE:
        raise ValueError("a pepper's id has at most 64 visible ASCII characters")
    return Pepper(name, secret)


def _distinct(peppers: tuple[Pepper, ...]) -> tuple[Pepper, ...]:
    if len({pepper.name for pepper in peppers}) < len(peppers):
        raise ValueError("two peppers have the same id")
    return peppers


class ApiSettings(LogSettings):
    """Settings of `hokusai-auth api`: its own, the log's and the topics', so that all are checked at once."""

    database_url: DatabaseUrl = Field(alias="DATABASE_URL", repr=False)
    admin_tokens: Annotated[
        tuple[Annotated[str, AfterValidator(_check_token)], ...], BeforeValidator(_split)
    ] = Field(alias="ADMIN_TOKEN", repr=False)
    #: Where it is not set, whoever reaches the api may report usage.
    usage_tokens: (
        Annotated[tuple[Annotated[str, AfterValidator(_check_token)], ...], BeforeValidator(_split)] | None
    ) = Field(default=None, alias="USAGE_TOKEN", repr=False)
    peppers: Annotated[
        tuple[Annotated[Pepper, BeforeValidator(_read_pepper)], ...],
        BeforeValidator(_split),
        AfterValidator(_distinct),
    ] = Field(alias="KEY_PEPPERS", repr=False)
    bcrypt_rounds: int = Field(default=12, alias="BCRYPT_ROUNDS", ge=4, le=16)
    max_staleness_seconds: float = Field(default=300, alias="MAX_STALENESS_SECONDS", gt=0)
    trusted_proxies: Annotated[
        tuple[Annotated[str, AfterValidator(_check_proxy)], ...], BeforeValidator(_split)
    ] = Field(default=(), alias="TRUSTED_PROXIES")
    #: Of each worker, see `ConnectionLimits`.
    max_connections: int = Field(default=DEFAULT_LIMITS.connections, alias="MAX_CONNECTIONS", ge=16)
    keep_alive_seconds: float = Field(
        default=DEFAULT_LIMITS.keep_alive_seconds, alias="KEEP_ALIVE_SECONDS", gt=0, le=3600
    )
    request_head_seconds: float = Field(
        default=DEFAULT_LIMITS.head_seconds, alias="REQUEST_HEAD_SECONDS", gt=0, le=600
    )
    request_body_seconds: float = Field(
        default=DEFAULT_LIMITS.body_seconds, alias="REQUEST_BODY_SECONDS", gt=0, le=600
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", alias="LOG_LEVEL")
