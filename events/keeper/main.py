"""How such a process begins and ends: settings, signals, exit codes."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from events.errors import SettingsError, TopicMismatch, WrongLog, WrongSchema
from events.keeper.settings import KeeperSettings
from events.process_logs import configure_logging

FAILED = 1
REFUSED = 2

SettingsT = TypeVar("SettingsT", bound=KeeperSettings)
Run = Callable[[SettingsT, asyncio.Event], Coroutine[Any, Any, None]]


def run_process(
    name: str, settings_type: type[SettingsT], run: Run[SettingsT], environment: Mapping[str, str]
) -> int:
    """Run until SIGTERM or SIGINT. 0: stopped cleanly; 1: failed, the log says why, a restart may help.

    2: refused to run, stderr says why in a sentence.
    """
    try:
        settings = settings_type.from_environment(environment)
        configure_logging(settings)
        for warning in settings.misspelled(environment):
            logging.getLogger(__name__).warning("%s", warning)
        asyncio.run(_until_stopped(run, settings))
    except SettingsError as error:
        return _refuse(name, "bad settings: " + "; ".join(error.problems))
    except (WrongLog, WrongSchema, TopicMismatch) as error:
        return _refuse(name, str(error))
    except Exception:
        logging.getLogger(__name__).critical("the %s cannot go on", name, exc_info=True)
        return FAILED
    return 0


async def _until_stopped(run: Run[SettingsT], settings: SettingsT) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await run(settings, stopping)


def _refuse(name: str, why: str) -> int:
    print(f"hokusai-auth {name}: {why}", file=sys.stderr)  # noqa: T201
    return REFUSED
