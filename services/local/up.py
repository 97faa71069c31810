"""Everything on one machine, in order: servers, topics, services, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console

from events.errors import EventsError
from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import Topics
from services.local.errors import LocalStackError, PortInUse
from services.local.folder import data_folder
from services.local.layout import Layout, lay_out
from services.local.ports import is_free
from services.local.progress import Steps, steps_on
from services.local.signals import interrupted_by_signals, undisturbed
from services.local.stack import remove_stack, write_stack
from services.local.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from services.local.process import ManagedProcess

_START_SECONDS = 60.0
_WATCH_SECONDS = 0.2


def up(port: int, data_dir: Path, workers: int, environment: Mapping[str, str]) -> int:
    """Run the whole platform on this machine until SIGINT or SIGTERM; gives the exit code.

    `KAFKA_BOOTSTRAP_SERVERS` and `DATABASE_URL` replace the embedded server of their kind; the data folder
    is made where it is missing and used by one `up` at a time. 0 after a clean stop; 1 after one sentence
    on stderr when something cannot be started.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries log is no sentence for a terminal
    console = Console(highlight=False, soft_wrap=True)
    try:
        with interrupted_by_signals(), data_folder(data_dir) as folder:
            if not is_free(port):
                raise PortInUse(f"port {port} is in use by another program: choose another one with --port")
            _run(lay_out(port, folder, workers, environment), console)
    except KeyboardInterrupt:
        return 0
    except (LocalStackError, EventsError) as error:
        sys.stderr.write(f"hokusai-auth: {error}\n")
    except OSError as error:
        sys.stderr.write(f"hokusai-auth: the data folder {data_dir} cannot be used: {error}\n")
    return 1


def _run(layout: Layout, console: Console) -> None:
    def say(line: str) -> None:
        console.print(line, markup=False)

    def tell_stack() -> None:
        try:
            write_stack(layout.folder, layout.stack(os.getpid(), supervisor.pids))
        except OSError as error:  # nothing that runs depends on it
            say(f"stack.json could not be written: {error.strerror}")

    supervisor = Supervisor(say, on_change=tell_stack)
    remove_stack(layout.folder)
    try:
        with steps_on(console) as steps:
            _start(layout, supervisor, steps)
        tell_stack()
        say(_welcome(layout))
        while True:
            supervisor.revive()
            time.sleep(_WATCH_SECONDS)
    finally:
        with undisturbed():
            say("stopping ...")
            supervisor.stop()
            remove_stack(layout.folder)


def _start(layout: Layout, supervisor: Supervisor, steps: Steps) -> None:
    kafka = KafkaSettings.from_environment(layout.environment)
    topics = Topics.from_environment(layout.environment)
    _start_wave(layout.servers, supervisor, steps)
    steps.begin("topics", "topics")
    asyncio.run(apply_topics(kafka, topics))
    steps.done("topics")
    _start_wave(layout.services, supervisor, steps)


def _start_wave(wave: Sequence[ManagedProcess], supervisor: Supervisor, steps: Steps) -> None:
    if not wave:
        return
    for process in wave:
        steps.begin(process.name, process.label)
    supervisor.start(*wave)
    supervisor.wait_ready(_START_SECONDS, on_ready=lambda process: steps.done(process.name))


def _welcome(layout: Layout) -> str:
    docs = f"{layout.api_url}/docs" if layout.environment.get("API_DOCS") != "off" else "switched off"
    return f"""
API          {layout.api_url}
API docs     {docs}
Admin token  {layout.admin_token}
Data, logs   {layout.folder}

Create a key:

{_curl(layout)} -X POST {layout.api_url}/api/v1/keys -H 'Authorization: Bearer {layout.admin_token}' \
-H 'Content-Type: application/json' -d '{{"name": "my first key", "service_id": "prediction"}}'

Ctrl-C stops everything; the data stays."""


def _curl(layout: Layout) -> str:
    """With TLS the certificate names the api as others know it, not as this machine's loopback."""
    insecure = " --insecure" if layout.environment.get("TLS_CERTFILE") else ""
    client = " --cert CERTIFICATE --key KEY" if layout.environment.get("TLS_CLIENT_CAFILE") else ""
    return f"curl -sS{insecure}{client}"
