"""Small programs in the place of the services."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from services.local.ports import LOOPBACK, free_ports
from services.local.service import Service

#: Answers every GET with 200.
ANSWERING = """
import http.server, sys
class Yes(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Yes).serve_forever()
"""

#: Ends by itself when it is asked to, with exit code 0.
POLITE = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + ANSWERING

#: Will not be stopped by SIGTERM.
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ANSWERING

#: Has worker processes; their ids are in its log.
WITH_WORKERS = (
    "import subprocess, sys\n"
    "for _ in range(2):\n"
    "    worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "    print('worker', worker.pid, flush=True)\n" + ANSWERING
)

#: Refuses to start, with a sentence.
REFUSING = "import sys\nprint('bad settings: ADMIN_TOKEN is missing', file=sys.stderr)\nsys.exit(2)\n"


def stand_in(name: str, folder: Path, script: str = ANSWERING) -> Service:
    """A service of that name that runs the script."""
    [port] = free_ports(1)
    command = [sys.executable, "-c", script, str(port)]
    return Service(name, folder, command, os.environ, f"http://{LOOPBACK}:{port}/ready")


def worker_pids(service: Service) -> list[int]:
    lines = service.log_of_this_run().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("worker ")]
