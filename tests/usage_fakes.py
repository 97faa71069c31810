"""The picture of use in memory, folded anew from the log at every question."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal

from events.codec import decode
from events.lifecycle import fold
from events.lineage import Lineage
from events.log import Record
from events.memory_log import MemoryLog
from events.topics import Topic, Topics
from events.usage import KeyUsed
from events.usage_identity import NEAR_PERIODS, content_of, period_of
from services.api.errors import ReadModelUnavailable
from services.api.usage_read_models import TOP_ENDPOINTS, Charges, DayOfUse, MonthOfUse, Sums

PRICE = Decimal("0.001")


class MemoryUsageReadModels:
    """The api's `UsageReadModels`. It can be away, or not filled yet."""

    def __init__(self, log: MemoryLog, topics: Topics) -> None:
        self._log = log
        self._topics = topics
        self.is_away = False
        self.is_filled = True
        self.contents_asked = 0

    async def month(self, lineage_id: str, month: date) -> MonthOfUse:
        used = [use for use in await self._uses_of(lineage_id) if _month(use) == month]
        counts = Counter(use.data.endpoint for use in used)
        largest = sorted(counts.items(), key=lambda counted: (-counted[1], counted[0]))
        return MonthOfUse(_sums(used), tuple(largest[:TOP_ENDPOINTS]))

    async def charges(self, lineage_id: str, month: date) -> Charges:
        sums = _sums(use for use in await self._uses_of(lineage_id) if _month(use) == month)
        limit = (await self._lineages())[lineage_id].current.settings.monthly_prediction_limit
        over = 0 if limit is None else max(0, sums.predictions - limit)
        return Charges(sums.requests, sums.predictions, sums.compute_us, over * PRICE)

    async def days(self, first: date, last: date, services: Sequence[str] | None) -> list[DayOfUse]:
        found: dict[tuple[date, str], list[KeyUsed]] = defaultdict(list)
        for use in await self._uses():
            if first <= use.time.date() <= last and (services is None or use.data.service_id in services):
                found[use.time.date(), use.data.service_id].append(use)
        return [DayOfUse(day, service_id, _sums(uses)) for (day, service_id), uses in sorted(found.items())]

    async def content(self, key_id: str, event_id: str, now: datetime) -> int | None:
        self.contents_asked += 1
        for use in await self._uses():
            apart = period_of(_ms(now)) - period_of(_ms(use.time))
            if (use.data.key_id, use.id) == (key_id, event_id) and abs(apart) <= NEAR_PERIODS:
                return content_of(use.data)
        return None

    async def _uses_of(self, lineage_id: str) -> list[KeyUsed]:
        lineage = (await self._lineages()).get(lineage_id)
        keys = {key.key_id for key in lineage.keys} if lineage else set()
        return [use for use in await self._uses() if use.data.key_id in keys]

    async def _uses(self) -> Iterable[KeyUsed]:
        """Distinct ones."""
        if self.is_away:
            raise ReadModelUnavailable("The read model is not available, try again")
        if not self.is_filled:
            raise ReadModelUnavailable("The read model is being rebuilt, try again")
        uses: dict[tuple[str, str], KeyUsed] = {}
        for record in await self._records(self._topics.usage):
            use = decode(record.value)
            assert isinstance(use, KeyUsed)
            uses.setdefault((use.data.key_id, use.id), use)
        return uses.values()

    async def _lineages(self) -> dict[str, Lineage]:
        lineages: dict[str, Lineage] = {}
        for record in await self._records(self._topics.lifecycle):
            if (lineage := fold(record, lineages.get).lineage) is not None:
                lineages[lineage.lineage_id] = lineage
        return lineages

    async def _records(self, topic: Topic) -> Sequence[Record]:
        reader = self._log.reader(topic)
        await reader.begin({})
        return await reader.read(1_000_000, timeout_seconds=0)


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def _month(use: KeyUsed) -> date:
    return use.time.date().replace(day=1)


def _sums(uses: Iterable[KeyUsed]) -> Sums:
    used = list(uses)
    return Sums(
        requests=len(used),
        errors=sum(use.data.status_code >= 400 for use in used),
        predictions=sum(use.data.predictions_count for use in used),
        compute_us=sum(round(use.data.compute_ms * 1000) for use in used),
        response_time_us=sum(round(use.data.response_time_ms * 1000) for use in used),
    )
