"""A load generator of its own process over geventhttpclient; what it is told and prints: generators.py."""

from __future__ import annotations

from gevent import monkey  # type: ignore[import-not-found,import-untyped,unused-ignore]

monkey.patch_all()

import json  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from http.client import HTTPException  # noqa: E402
from itertools import cycle  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: E402
from geventhttpclient import HTTPClient  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: E402

from bench.figure import percentile  # noqa: E402


def main(url: str, plan: str, connections: str, seconds: str, pause_ms: str) -> None:
    """Send until the time is over, print what was measured."""
    told = json.loads(Path(plan).read_text())
    answers = {int(status): text.encode() for status, text in told["answers"].items()}
    requests = cycle(told["requests"])
    statuses: Counter[int] = Counter()
    latencies_us: list[float] = []
    failures: Counter[str] = Counter()
    began = time.perf_counter()
    ends = began + float(seconds)

    def one_connection() -> None:
        client: Any = HTTPClient.from_url(url, concurrency=1, network_timeout=10.0)
        while time.perf_counter() < ends:
            path, headers, body = next(requests)
            sent = time.perf_counter()
            try:
                answer = client.request("POST", path, body, {"Content-Type": "application/json", **headers})
                content = answer.read()
            except (OSError, HTTPException):
                failures["errors"] += 1
                continue
            latencies_us.append((time.perf_counter() - sent) * 1e6)
            statuses[answer.status_code] += 1
            text = answers.get(answer.status_code)
            failures["wrong"] += text is None or text not in bytes(content)
            if int(pause_ms):
                gevent.sleep(random.uniform(0, 2 * int(pause_ms)) / 1000)  # noqa: S311

    gevent.joinall([gevent.spawn(one_connection) for _ in range(int(connections))], raise_error=True)
    found = {
        "requests": sum(statuses.values()),
        "seconds": time.perf_counter() - began,
        "wrong": failures["wrong"],
        "errors": failures["errors"],
        "statuses": statuses,
        "latency_us": {percent: percentile(latencies_us, percent) for percent in (50, 90, 99, 99.9)},
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
