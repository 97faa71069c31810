"""`hokusai-auth projector`: environment -> settings -> projector."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping

from events.errors import SettingsError, TopicMismatch, WrongLog
from services.projector.app import Projector
from services.projector.settings import ProjectorSettings

FAILED = 1
REFUSED = 2


def main(environment: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT. 0: stopped cleanly; 1: failed, the log says why, a restart may help.

    2: refused to run, stderr says why in a sentence.
    """
    try:
        settings = ProjectorSettings.from_environment(environment)
        logging.basicConfig(
            level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        logging.getLogger("aiokafka").setLevel(logging.ERROR)
        asyncio.run(_run(settings))
    except SettingsError as error:
        return _refuse("bad settings: " + "; ".join(error.problems))
    except (WrongLog, TopicMismatch) as error:
        return _refuse(str(error))
    except Exception:
        logging.getLogger(__name__).critical("the projector cannot go on", exc_info=True)
        return FAILED
    return 0


async def _run(settings: ProjectorSettings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await Projector(settings).run(stopping)


def _refuse(why: str) -> int:
    print(f"hokusai-auth projector: {why}", file=sys.stderr)  # noqa: T201
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(os.environ))
