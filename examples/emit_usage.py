"""Tell the log that a key was used: python examples/emit_usage.py KEY_ID."""

from __future__ import annotations

import asyncio
import os
import sys

from events import KafkaSettings, Topics, Usage, UsageEmitter


async def main(key_id: str) -> None:
    kafka, topics = KafkaSettings.from_environment(os.environ), Topics.from_environment(os.environ)
    usage = Usage(
        key_id=key_id,
        service_id="platform",
        endpoint="/api/v1/models/30/predict",
        status_code=200,
        response_time_ms=12.5,
        predictions_count=3,
        compute_ms=7.25,
    )
    async with UsageEmitter(kafka, topics, source="urn:example:models", actor="models") as emitter:
        for _ in range(3):
            print("emitted", await emitter.emit(usage))
    print(emitter.sent, "acknowledged")


asyncio.run(main(sys.argv[1]))
