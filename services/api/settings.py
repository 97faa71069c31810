"""What the api reads from its environment, all of it checked before anything connects."""

from __future__ import annotations

import string
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from events.database_url import DatabaseUrl, password_in
from events.errors import SettingsError
from events.keys import MAX_BCRYPT_COST, MIN_BCRYPT_COST
from events.process_logs import LoggingSettings
from events.topics import LogSettings
from services.api.directory.lifecycle_follower import ASK_SECONDS
from services.api.http.client_address import is_everybody
from services.api.http.connections import DEFAULT_LIMITS
from services.api.http.tls import TlsFiles
from services.api.http.tracing import TraceSettings
from services.api.validation.addresses import parse_networks
from services.api.validation.key_material import Pepper

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


_TLS_FIELDS = {"tls_certfile", "tls_keyfile", "tls_keyfile_password", "tls_client_cafile"}


class ApiSettings(LogSettings, LoggingSettings, TraceSettings):
    """Settings of `hokusai-auth api`: its own, the log's and the topics', so that all are checked at once."""

    database_url: DatabaseUrl = Field(alias="DATABASE_URL", repr=False)
    admin_tokens: Annotated[
        tuple[Annotated[str, AfterValidator(_check_token)], ...], BeforeValidator(_split)
    ] = Field(alias="ADMIN_TOKEN", repr=False)
    #: Where it is not set, whoever reaches the api may report usage.
    usage_tokens: (
        Annotated[tuple[Annotated[str, AfterValidator(_check_token)], ...], BeforeValidator(_split)] | None
    ) = Field(default=None, alias="USAGE_TOKEN", repr=False)
    key_peppers: Annotated[
        tuple[Annotated[Pepper, BeforeValidator(_read_pepper)], ...],
        BeforeValidator(_split),
        AfterValidator(_distinct),
    ] = Field(alias="KEY_PEPPERS", repr=False)
    bcrypt_rounds: int = Field(default=12, alias="BCRYPT_ROUNDS", ge=MIN_BCRYPT_COST, le=MAX_BCRYPT_COST)
    #: The log is asked every second where it ends, and takes a moment to answer.
    max_staleness_seconds: float = Field(default=300, alias="MAX_STALENESS_SECONDS", ge=2 * ASK_SECONDS)
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
    #: Where the node keeps its store of keys and its counts between runs; without it, for one run.
    node_folder: Path | None = Field(default=None, alias="NODE_FOLDER")
    api_docs: Literal["on", "off"] = Field(default="on", alias="API_DOCS")
    operations_host: str = Field(default="127.0.0.1", alias="OPERATIONS_HOST", min_length=1)
    #: Where it is set, /metrics and /ready are answered there alone.
    operations_port: int | None = Field(default=None, alias="OPERATIONS_PORT", ge=1, le=65535)
    tls_certfile: str | None = Field(default=None, alias="TLS_CERTFILE")
    tls_keyfile: str | None = Field(default=None, alias="TLS_KEYFILE")
    tls_keyfile_password: SecretStr | None = Field(default=None, alias="TLS_KEYFILE_PASSWORD")
    tls_client_cafile: str | None = Field(default=None, alias="TLS_CLIENT_CAFILE")

    @property
    def tls(self) -> TlsFiles | None:
        """What to serve HTTPS with; None: HTTP."""
        if self.tls_certfile is None:
            return None
        return _tls_files(self.model_dump(by_alias=True, include=_TLS_FIELDS))

    @classmethod
    def contradictions(cls, values: Mapping[str, Any], given: Collection[str]) -> Iterator[str]:
        yield from super().contradictions(values, given)
        yield from _shared_secrets(values)
        if "OPERATIONS_HOST" in given and "OPERATIONS_PORT" not in given:
            yield "OPERATIONS_HOST: not used without OPERATIONS_PORT"
        if "TLS_CERTFILE" in given:
            yield from _tls_problems(values)
        elif useless := sorted(name for name in given if name.startswith("TLS_")):
            yield f"{', '.join(useless)}: not used without TLS_CERTFILE"


def _tls_files(values: Mapping[str, Any]) -> TlsFiles:
    password = values["TLS_KEYFILE_PASSWORD"]
    return TlsFiles(
        values["TLS_CERTFILE"],
        values["TLS_KEYFILE"],
        None if password is None else password.get_secret_value(),
        values["TLS_CLIENT_CAFILE"],
    )


def _tls_problems(values: Mapping[str, Any]) -> Iterator[str]:
    try:
        _tls_files(values).load()
    except SettingsError as error:
        yield from error.problems


def _shared_secrets(values: Mapping[str, Any]) -> Iterator[str]:
    """Whoever learns one of them would have the other; a token for admins and for reports is one token."""
    holders: dict[str, list[str]] = {}
    for name in ("ADMIN_TOKEN", "USAGE_TOKEN"):
        for token in values.get(name) or ():
            holders.setdefault(token, []).append(name)
    for pepper in values.get("KEY_PEPPERS") or ():
        holders.setdefault(pepper.secret, []).append("KEY_PEPPERS")
    for name in ("KAFKA_SASL_PASSWORD", "TLS_KEYFILE_PASSWORD"):
        if (password := values.get(name)) is not None and password.get_secret_value() in holders:
            holders[password.get_secret_value()].append(name)
    if (url := values.get("DATABASE_URL")) and (password := password_in(url)) in holders:
        holders[password].append("DATABASE_URL")
    for names in holders.values():
        if len(names) > 1:
            yield f"{' and '.join(dict.fromkeys(names))}: the same secret twice"
