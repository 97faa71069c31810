"""Follow what every key used in every hour. Records may come again or late: the highest revision is right."""

from __future__ import annotations

import asyncio
import os

from events import HourlyTotals, HourlyUsage, KafkaLogReader, KafkaSettings, Topics, decode_total


async def main() -> None:
    kafka, topics = KafkaSettings.from_environment(os.environ), Topics.from_environment(os.environ)
    totals: dict[str, HourlyTotals] = {}
    async with KafkaLogReader(kafka, topics.hourly_usage) as reader:
        await reader.begin({})
        while True:
            for record in await reader.read():
                match decode_total(record.value):
                    case HourlyUsage(partitionkey=row, data=new):
                        if row not in totals or totals[row].revision < new.revision:
                            totals[row] = new
                            print(row, new.model_dump_json(exclude={"key_id", "hour"}), flush=True)


asyncio.run(main())
