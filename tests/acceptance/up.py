"""`hokusai-auth up` as a child process, as somebody runs it who has nothing but this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from services.local.ports import free_ports
from tests.acceptance.eventually import eventually

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
LIST_SECONDS = 20.0
SERVICES = ("api", "projector", "windows", "billing")


class Up:
    """One run of the command; it is killed in the end, whatever the test did with it."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        workers: int = 1,
        servers: Mapping[str, str] | None = None,
        **environment: str,
    ) -> None:
        """`servers`: the environment that names others than its own."""
        [self.port] = [port] if port else free_ports(1)
        self.data = folder / "data"
        self._out, self._err = folder / "out", folder / "err"
        self._command = [sys.executable, "-m", "services.cli", "up", "--port", str(self.port)]
        self._command += ["--data-dir", str(self.data), "--workers", str(workers)]
        self._environment = {**os.environ, **(servers or {}), **environment}

    def __enter__(self) -> Self:
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(self._command, env=self._environment, stdout=out, stderr=err)
        return self

    def __exit__(self, *_: object) -> None:
        left = self.family() if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(left, timeout=STOP_SECONDS)

    @property
    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def said(self) -> str:
        return self._out.read_text()

    @property
    def complained(self) -> str:
        return self._err.read_text()

    @property
    def stack(self) -> dict[str, Any]:
        stack: dict[str, Any] = json.loads((self.data / "stack.json").read_text())
        return stack

    def wait_ready(self) -> Self:
        eventually(lambda: "Ctrl-C" in self.said or self._has_ended, READY_SECONDS, "the stack")
        assert self.process.poll() is None, self.complained
        return self

    def family(self) -> list[psutil.Process]:
        """Everything that it runs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop_by(self, number: signal.Signals) -> None:
        """It ends cleanly and in time, and nothing that it ran is left."""
        family = self.family()
        self.process.send_signal(number)
        assert self.process.wait(STOP_SECONDS) == 0
        assert not [process for process in family if _runs(process)]
        assert not (self.data / "stack.json").exists()

    def refusal(self) -> str:
        """The one sentence with which it does not start."""
        assert self.process.wait(READY_SECONDS) == 1
        [sentence] = self.complained.splitlines()
        return sentence

    def create_key(self) -> dict[str, Any]:
        """What the command answers that it tells people to try."""
        [line] = [line for line in self.said.splitlines() if line.startswith("curl")]
        answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
        created: dict[str, Any] = json.loads(answer)
        return created

    def keys(self) -> list[str]:
        """The names of all keys. A busy machine may answer 503: it is asked again then."""
        token = (self.data / "admin_token").read_text()
        bearer = {"Authorization": f"Bearer {token}"}
        url = f"{self.stack['api_url']}/api/v1/keys"

        def listed() -> httpx.Response | None:
            answer = httpx.get(url, headers=bearer)
            return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

        answer = eventually(listed, LIST_SECONDS, "the list of keys")
        return [key["name"] for key in answer.raise_for_status().json()]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
