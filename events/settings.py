"""Settings that every process shares, read once from a mapping that is handed in."""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, create_model, model_validator

from events.errors import SettingsError
from events.tls_files import load_authorities, load_own_certificate


class Settings(BaseModel):
    """Base of every process's settings: each field names its environment variable as its alias.

    A variable that is set but empty counts as not set. Infinity and NaN are no numbers here.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check everything. Raises `SettingsError` naming all that is missing or wrong."""
        given = {name: value for name, value in environment.items() if value != ""}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False)
        wrong = [problem for problem in problems if problem["loc"]]
        readable = cls._without({str(problem["loc"][0]) for problem in wrong}).model_validate(given)
        raise SettingsError(
            [
                *(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in wrong),
                *cls.contradictions(_by_variable(readable), _given(readable)),
                *cls.misspelled(environment),
            ]
        ) from None

    @classmethod
    def contradictions(cls, values: Mapping[str, Any], given: Collection[str]) -> Iterator[str]:
        """What is wrong between settings that are right alone, one sentence each; no sentence shows a value.

        `values` are those that could be read, defaults included, by the name of their variable; `given` are
        the variables that are set. Each class adds to what its bases find.
        """
        yield from ()

    @classmethod
    def misspelled(cls, environment: Mapping[str, str]) -> list[str]:
        """One sentence for each variable that nobody reads and that looks like one of these settings."""
        known = {name.upper(): name for name in _fields(cls)}
        found = []
        for name in sorted(environment.keys() - set(known.values())):
            plain = name.upper().removeprefix(_OUR_PREFIX)
            if near := difflib.get_close_matches(plain, known, n=1, cutoff=_LOOKS_ALIKE):
                found.append(f"{name} is not read: is {known[near[0]]} meant?")
        return found

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if found := list(self.contradictions(_by_variable(self), _given(self))):
            raise ValueError("; ".join(found))
        return self

    @classmethod
    def _without(cls, variables: Collection[str]) -> type[BaseModel]:
        """The same fields but these, without what is asked of all of them together."""
        fields: dict[str, Any] = {
            field: (cls.model_fields[field].annotation, cls.model_fields[field])
            for variable, field in _fields(cls).items()
            if variable not in variables
        }
        return create_model(cls.__name__, __config__=cls.model_config, **fields)


#: People put it before a setting because others do; no setting has it.
_OUR_PREFIX = "HOKUSAI_"
#: The share of two names that is the same: KEY_PEPPER is near KEY_PEPPERS, BILLING_GROUP not PROJECTOR_GROUP.
_LOOKS_ALIKE = 0.85


def _fields(settings: type[BaseModel]) -> dict[str, str]:
    """Variable to field."""
    return {field.alias or name: name for name, field in settings.model_fields.items()}


def _by_variable(settings: BaseModel) -> dict[str, Any]:
    return {variable: getattr(settings, field) for variable, field in _fields(type(settings)).items()}


def _given(settings: BaseModel) -> set[str]:
    fields = _fields(type(settings)).items()
    return {variable for variable, field in fields if field in settings.model_fields_set}


#: What a setting's name begins with, and the protocols that use it.
_PROTOCOLS = {"KAFKA_SSL_": ("SSL", "SASL_SSL"), "KAFKA_SASL_": ("SASL_PLAINTEXT", "SASL_SSL")}
_TLS_FILES = ("KAFKA_SSL_CAFILE", "KAFKA_SSL_CERTFILE", "KAFKA_SSL_KEYFILE")
_SERVER = r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}"


class KafkaSettings(Settings):
    """How to reach the log, for every Kafka client of a process."""

    bootstrap_servers: str = Field(
        alias="KAFKA_BOOTSTRAP_SERVERS",
        pattern=rf"^{_SERVER}(,{_SERVER})*$",
        description="host:port of some brokers, separated by commas",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", alias="KAFKA_SECURITY_PROTOCOL"
    )
    ssl_cafile: str | None = Field(default=None, alias="KAFKA_SSL_CAFILE")
    ssl_certfile: str | None = Field(default=None, alias="KAFKA_SSL_CERTFILE")
    ssl_keyfile: str | None = Field(default=None, alias="KAFKA_SSL_KEYFILE")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", alias="KAFKA_SASL_MECHANISM"
    )
    sasl_username: str | None = Field(default=None, alias="KAFKA_SASL_USERNAME")
    sasl_password: SecretStr | None = Field(default=None, alias="KAFKA_SASL_PASSWORD")

    @classmethod
    def contradictions(cls, values: Mapping[str, Any], given: Collection[str]) -> Iterator[str]:
        yield from super().contradictions(values, given)
        yield from _meaningless_credentials(values, given)
        if (protocol := values.get("KAFKA_SECURITY_PROTOCOL")) is None:
            return
        credentials = ("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD")
        if protocol.startswith("SASL") and not all(values.get(name) for name in credentials):
            yield f"{' and '.join(credentials)} are needed for SASL"
        if protocol.endswith("SSL"):
            try:
                _tls(*map(values.get, _TLS_FILES))
            except SettingsError as error:
                yield from error.problems

    def client_options(self) -> dict[str, object]:
        """The keyword arguments that every aiokafka client of this process is made with.

        Raises `SettingsError` when a certificate cannot be loaded: waiting would not mend it.
        """
        options: dict[str, object] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = _tls(self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile)
        if self.security_protocol.startswith("SASL") and self.sasl_password is not None:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password.get_secret_value()
        return options


def _meaningless_credentials(values: Mapping[str, Any], given: Collection[str]) -> Iterator[str]:
    """They would be passed over, and the connection be less protected than whoever set them believes."""
    protocol = values.get("KAFKA_SECURITY_PROTOCOL")
    for kind, needed in _PROTOCOLS.items():
        useless = sorted(name for name in given if name.startswith(kind))
        if useless and protocol is not None and protocol not in needed:
            yield f"{', '.join(useless)}: not used unless KAFKA_SECURITY_PROTOCOL is {' or '.join(needed)}"


def _tls(cafile: str | None, certfile: str | None, keyfile: str | None) -> ssl.SSLContext:
    """A client's context. Raises `SettingsError` where a file is missing or wrong."""
    if bool(certfile) != bool(keyfile):
        raise SettingsError(["KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE go together"])
    if cafile:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load_authorities(context, "KAFKA_SSL_CAFILE", cafile)
    else:
        context = ssl.create_default_context()
    if certfile:
        load_own_certificate(context, "KAFKA_SSL_", certfile, keyfile)
    return context
