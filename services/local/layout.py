"""What runs where, decided before anything is started."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from services.local.credentials import credentials
from services.local.kafka import EmbeddedKafka
from services.local.ports import LOOPBACK, free_ports
from services.local.postgres import EmbeddedPostgres, without_other_servers
from services.local.service import Service
from services.local.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.local.process import ManagedProcess


@dataclass(frozen=True)
class Layout:
    """What runs where: decided before anything is started.

    `servers` are ours to run and start first; `environment` is what every service is started with.
    """

    folder: Path
    servers: Sequence[ManagedProcess]
    services: Sequence[ManagedProcess]
    api_url: str
    operations_url: str
    projector_url: str
    windows_url: str
    billing_url: str
    kafka_bootstrap_servers: str
    database_url: str = field(repr=False)
    admin_token: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)

    def stack(self, supervisor_pid: int, pids: Mapping[str, int]) -> Stack:
        return Stack(
            api_url=self.api_url,
            operations_url=self.operations_url,
            projector_url=self.projector_url,
            windows_url=self.windows_url,
            billing_url=self.billing_url,
            kafka_bootstrap_servers=self.kafka_bootstrap_servers,
            database_url=self.database_url,
            supervisor_pid=supervisor_pid,
            pids=pids,
        )


def lay_out(port: int, folder: Path, workers: int, environment: Mapping[str, str]) -> Layout:
    """Decide it from the arguments of `up`; an environment that names a server replaces ours."""
    servers: list[ManagedProcess] = []
    ours: dict[str, str] = {}
    if not environment.get("DATABASE_URL"):
        environment = without_other_servers(environment)
        postgres = EmbeddedPostgres(folder)
        servers.append(postgres)
        ours["DATABASE_URL"] = postgres.database_url
    if not environment.get("KAFKA_BOOTSTRAP_SERVERS"):
        kafka = EmbeddedKafka(folder, cache_dir=_cache_dir(environment))
        servers.append(kafka)
        ours["KAFKA_BOOTSTRAP_SERVERS"] = kafka.bootstrap_servers
        ours["KAFKA_SECURITY_PROTOCOL"] = "PLAINTEXT"
        # What is meant for another broker is not used here, and a service refuses what it would not use.
        ours |= {name: "" for name in environment if name.startswith(("KAFKA_SSL_", "KAFKA_SASL_"))}
    known = credentials(folder, environment)
    for_services = {
        **environment,
        **ours,
        "ADMIN_TOKEN": known.admin_tokens,
        "KEY_PEPPERS": known.key_peppers,
        "METRICS_HOST": LOOPBACK,
        "NODE_FOLDER": environment.get("NODE_FOLDER") or str(folder / "node"),
    }
    api_url = f"{'https' if environment.get('TLS_CERTFILE') else 'http'}://{LOOPBACK}:{port}"
    if environment.get("TLS_CLIENT_CAFILE") and not environment.get("OPERATIONS_PORT"):
        # Whoever asks whether it is ready has no certificate to show.
        for_services["OPERATIONS_PORT"] = str(*free_ports(1))
    operations_url = _operations_url(for_services) or api_url
    api = _command("api", "--host", LOOPBACK, "--port", str(port), "--workers", str(workers))
    keepers = {
        "projector": _command("projector"),
        "windows": _command("projector", "--part", "windows"),
        "billing": _command("billing"),
    }
    ports = dict(zip(keepers, free_ports(len(keepers)), strict=True))
    urls = {name: f"http://{LOOPBACK}:{ports[name]}" for name in keepers}
    return Layout(
        folder=folder,
        servers=servers,
        services=[
            Service("api", folder, api, for_services, f"{operations_url}/ready"),
            *(
                Service(
                    name,
                    folder,
                    command,
                    {**for_services, "METRICS_PORT": str(ports[name])},
                    f"{urls[name]}/ready",
                )
                for name, command in keepers.items()
            ),
        ],
        api_url=api_url,
        operations_url=operations_url,
        projector_url=urls["projector"],
        windows_url=urls["windows"],
        billing_url=urls["billing"],
        kafka_bootstrap_servers=for_services["KAFKA_BOOTSTRAP_SERVERS"],
        database_url=for_services["DATABASE_URL"],
        admin_token=known.admin_token,
        environment=for_services,
    )


def _operations_url(environment: Mapping[str, str]) -> str | None:
    """Where the api is asked whether it is ready, when that is a port of its own; it is never HTTPS."""
    port = environment.get("OPERATIONS_PORT")
    host = environment.get("OPERATIONS_HOST") or LOOPBACK
    reached = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}" if port else None


def _command(*arguments: str) -> list[str]:
    # -P: a folder named `services` where the user happens to stand must not be taken for ours.
    return [sys.executable, "-P", "-m", "services.cli", *arguments]


def _cache_dir(environment: Mapping[str, str]) -> Path | None:
    wanted = environment.get("HOKUSAI_CACHE_DIR")
    return Path(wanted) if wanted else None
