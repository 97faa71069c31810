"""The `hokusai-auth` command: what runs everything, each service alone, and what looks after the log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from services.audit import audit
from services.dead_letters.command import dlq
from services.log import log
from services.topics import topics

# The commands import what they run when they run it: `--help` and each service start fast.

app = typer.Typer(
    name="hokusai-auth",
    help="API keys for an ML platform, with a Kafka log as the source of truth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they would print local variables, and those hold secrets
)

app.add_typer(topics, name="topics")
app.add_typer(audit, name="audit")
app.add_typer(log, name="log")
app.add_typer(dlq, name="dlq")

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Workers = Annotated[int, typer.Option(min=1, help="Worker processes of the API.")]


@app.command()
def up(
    port: Port = 8000,
    data_dir: Annotated[Path, typer.Option(help="Folder of all data and logs.")] = Path(".hokusai"),
    workers: Workers = 1,
) -> None:
    """Run everything on this machine: Kafka, Postgres and the services. Ctrl-C stops it all."""
    from services.local.up import up as run_stack

    raise typer.Exit(run_stack(port, data_dir, workers, os.environ))


@app.command()
def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 1,
) -> None:
    """Run the API alone; its settings are environment variables."""
    from services.api.__main__ import main as run_api

    raise typer.Exit(run_api(host, port, workers, os.environ))


@app.command()
def projector(
    part: Annotated[
        Literal["models", "windows"],
        typer.Option(help="What it keeps: the read models, or the windows of the rate limits."),
    ] = "models",
) -> None:
    """Run a part of the projector alone; its settings are environment variables."""
    from services.projector.__main__ import main as run_projector

    raise typer.Exit(run_projector(os.environ, part))


@app.command()
def billing() -> None:
    """Run billing alone; its settings are environment variables."""
    from services.billing.__main__ import main as run_billing

    raise typer.Exit(run_billing(os.environ))


def main() -> None:
    """The `hokusai-auth` command."""
    # Logs, data and what is noted of processes are for their owner alone, whoever starts them.
    os.umask(0o077)
    app()


if __name__ == "__main__":
    main()
