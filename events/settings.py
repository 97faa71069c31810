"""Settings that every process shares, read once from a mapping that is handed in."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from events.errors import SettingsError


class Settings(BaseModel):
    """Base of every process's settings: each field names its environment variable as its alias.

    A variable that is set but empty counts as not set.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check everything. Raises `SettingsError` naming all that is missing or wrong."""
        try:
            return cls.model_validate({name: value for name, value in environment.items() if value != ""})
        except ValidationError as error:
            raise SettingsError(
                [
                    f"{'.'.join(map(str, problem['loc'])) or 'settings'}: {problem['msg']}"
                    for problem in error.errors(include_input=False, include_url=False)
                ]
            ) from None


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

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> Self:
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            raise ValueError("KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD are needed for SASL")
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            raise ValueError("KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE go together")
        return self

    def client_options(self) -> dict[str, object]:
        """The keyword arguments that every aiokafka client of this process is made with.

        Raises `SettingsError` when a certificate cannot be loaded: waiting would not mend it.
        """
        options: dict[str, object] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = self._tls()
        if self.security_protocol.startswith("SASL") and self.sasl_password is not None:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password.get_secret_value()
        return options

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
        except OSError as error:
            raise SettingsError([f"KAFKA_SSL_CAFILE: {self.ssl_cafile} cannot be loaded: {error}"]) from None
        if self.ssl_certfile and self.ssl_keyfile:
            try:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
            except OSError as error:
                files = f"{self.ssl_certfile}, {self.ssl_keyfile}"
                raise SettingsError(
                    [f"KAFKA_SSL_CERTFILE, KAFKA_SSL_KEYFILE: {files} cannot be loaded: {error}"]
                ) from None
        return context
