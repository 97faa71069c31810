from __future__ import annotations
import pytest, time, datetime as dt
from tests.builders import a_key_created, some_usage
from tests.integration.projector.world import World, eventually
from events.codec import decode_total

pytestmark = pytest.mark.anyio


async def test_smoke(world: World) -> None:
    key = a_key_created()
    p = world.projector()
    t = dt.datetime.now(dt.timezone.utc)
    uses = [some_usage(key_id=key.subject, time=t) for _ in range(50)]
    await world.append_usage(uses + uses[:10] + [some_usage()])
    await world.append([key])

    async def n():
        return (
            await world.value("SELECT to_regclass('projector.usage_hour')") is not None
            and await world.value("select sum(requests) from projector.usage_hour") == 50
        )

    try:
        await eventually(n, "50", 15)

        async def pub():
            return len(await world.read(world.topics.hourly_usage)) > 0

        await eventually(pub, "pub", 5)

        async def done():
            return await world.value("select count(*) from projector.usage_unpublished") == 0

        await eventually(done, "done", 5)
    finally:
        print(p.log_of_this_run())
    for r in await world.read(world.topics.hourly_usage):
        print(r.key, decode_total(r.value))
    for r in await world.read(world.topics.rate_counters):
        print(r.key, decode_total(r.value))
    for r in await world.read(world.topics.usage_dead_letters):
        print(r.key, r.headers)
    async with await __import__("events.keeper.database", fromlist=["connect"]).connect(
        world.database_url, "projector"
    ) as c:
        for tab in (
            "usage_hour",
            "usage_endpoint_month",
            "usage_service_day",
            "usage_last",
            "usage_progress",
            "usage_published",
            "usage_unpublished",
            "usage_identity",
            "filled",
        ):
            print(tab, await (await c.execute(f"select * from projector.{tab} limit 5")).fetchall())
