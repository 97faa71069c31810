"""GET /api/v1/usage/...: stats, billing and aggregate tell the same sums, to the admin."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.api.callers import KEYS, MALFORMED_IDS, UNKNOWN_ID, a_key
from tests.unit.api.routes.usage.uses import USAGE, report
from tests.unit.api.running import Surroundings
from tests.usage_fakes import MemoryUsageReadModels

pytestmark = pytest.mark.anyio

DAY_SECONDS = 86_400.0
#: Those of one key; the fourth has no path that could be read wrongly.
OF_A_KEY = ["stats", "billing"]
EVERY = [f"{USAGE}/{UNKNOWN_ID}/stats", f"{USAGE}/{UNKNOWN_ID}/billing", f"{USAGE}/aggregate"]


@pytest.fixture
def picture(api: Surroundings) -> MemoryUsageReadModels:
    models = api.state.usage_read_models
    assert isinstance(models, MemoryUsageReadModels)
    return models


async def told(admin: httpx.AsyncClient, path: str, **parameters: str) -> Any:
    answer = await admin.get(f"{USAGE}/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestStats200:
    async def test_sums_of_the_month(self, admin: httpx.AsyncClient) -> None:
        key_id = (await a_key(admin)).key_id
        await report(admin, key_id, response_time_ms=10, predictions_count=2, compute_ms=5.5)
        await report(admin, key_id, response_time_ms=10.5, predictions_count=1, compute_ms=4.5)
        await report(admin, key_id, response_time_ms=11, status_code=400, endpoint="/other")
        await report(admin, key_id, response_time_ms=0, status_code=399)

        assert await told(admin, f"{key_id}/stats") == {
            "key_id": key_id,
            "period": "2026-03",
            "total_requests": 4,
            "total_predictions": 3,
            "total_compute_ms": 10,
            "average_response_time_ms": 7.875,
            "error_rate": 0.25,
            "top_endpoints": [
                {"endpoint": "/api/v1/models/30/predict", "count": 3},
                {"endpoint": "/other", "count": 1},
            ],
        }

    async def test_nothing_used_is_zero(self, admin: httpx.AsyncClient) -> None:
        key_id = (await a_key(admin)).key_id

        answer = await admin.get(f"{USAGE}/{key_id}/stats?period=2025-12")

        assert answer.json() == {
            "key_id": key_id,
            "period": "2025-12",
            "total_requests": 0,
            "total_predictions": 0,
            "total_compute_ms": 0,
            "average_response_time_ms": 0,
            "error_rate": 0,
            "top_endpoints": [],
        }

    async def test_whole_milliseconds_are_integers(self, admin: httpx.AsyncClient) -> None:
        key_id = (await a_key(admin)).key_id
        await report(admin, key_id, compute_ms=0.75, response_time_ms=3)
        await report(admin, key_id, compute_ms=0.25, response_time_ms=5)

        text = (await admin.get(f"{USAGE}/{key_id}/stats")).text

        assert '"total_compute_ms":1,' in text
        assert '"average_response_time_ms":4,' in text

    async def test_a_month_ends_with_its_last_moment(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        key_id = (await a_key(admin)).key_id
        await report(admin, key_id)
        api.time.pass_by(31 * DAY_SECONDS)
        await report(admin, key_id)
        await report(admin, key_id)

        assert (await told(admin, f"{key_id}/stats", period="2026-03"))["total_requests"] == 1
        assert (await told(admin, f"{key_id}/stats", period="2026-04"))["total_requests"] == 2
        assert (await told(admin, f"{key_id}/stats"))["period"] == "2026-04"

    async def test_any_key_of_a_lineage_tells_of_all(self, admin: httpx.AsyncClient) -> None:
        old = (await a_key(admin)).key_id
        await report(admin, old)
        new = (await admin.post(f"{KEYS}/{old}/rotate")).json()["key_id"]
        await report(admin, new)
        await report(admin, (await a_key(admin)).key_id)

        for key_id in (old, new):
            stats = await told(admin, f"{key_id}/stats")
            assert (stats["key_id"], stats["total_requests"]) == (key_id, 2)


class TestBilling200:
    async def test_what_was_used_and_what_lies_over_the_limit(self, admin: httpx.AsyncClient) -> None:
        key_id = (await a_key(admin, monthly_prediction_limit=10, billing_plan="pro")).key_id
        await report(admin, key_id, predictions_count=10, compute_ms=1.5)
        await report(admin, key_id, predictions_count=3)

        assert await told(admin, f"{key_id}/billing") == {
            "key_id": key_id,
            "billing_plan": "pro",
            "current_usage": {"requests": 2, "predictions": 13, "compute_ms": 1.5},
            "monthly_limit": 10,
            "overage_charges": 0.003,
            "next_billing_date": "2026-04-01T00:00:00Z",
        }

    async def test_without_a_limit_nothing_lies_over_it(self, admin: httpx.AsyncClient) -> None:
        key_id = (await a_key(admin)).key_id
        await report(admin, key_id, predictions_count=1_000_000)

        bill = await told(admin, f"{key_id}/billing")

        assert (bill["monthly_limit"], bill["overage_charges"]) == (None, 0)

    async def test_the_year_ends_with_december(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        key_id = (await a_key(admin)).key_id
        await report(admin, key_id)
        api.time.pass_by(305 * DAY_SECONDS)  # the last of December

        bill = await told(admin, f"{key_id}/billing")

        assert (bill["next_billing_date"], bill["current_usage"]["requests"]) == ("2027-01-01T00:00:00Z", 0)


class TestAggregate200:
    async def test_sums_by_day_and_by_the_service_that_reported(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        one, other = (await a_key(admin)).key_id, (await a_key(admin)).key_id
        await report(admin, one, response_time_ms=1, predictions_count=1, compute_ms=0.5)
        await report(admin, other, response_time_ms=2, predictions_count=2, compute_ms=0.5)
        await report(admin, other, response_time_ms=2, service_id="hokusai-registry")
        api.time.pass_by(DAY_SECONDS)
        await report(admin, one, response_time_ms=7)

        assert await told(admin, "aggregate") == {
            "start_date": "2026-01-31T12:00:00Z",
            "end_date": "2026-03-02T12:00:00Z",
            "usage_by_date": {
                "2026-03-01": {
                    "hokusai-registry": {
                        "requests": 1,
                        "predictions": 0,
                        "compute_ms": 0,
                        "avg_response_time_ms": 2,
                    },
                    "platform": {
                        "requests": 2,
                        "predictions": 3,
                        "compute_ms": 1,
                        "avg_response_time_ms": 1.5,
                    },
                },
                "2026-03-02": {
                    "platform": {
                        "requests": 1,
                        "predictions": 0,
                        "compute_ms": 0,
                        "avg_response_time_ms": 7,
                    }
                },
            },
        }

    @pytest.mark.parametrize(
        ("service_id", "found"),
        [
            ("platform", {"platform", "website", "ml-platform"}),
            ("website", {"platform", "website", "ml-platform"}),
            ("prediction", {"prediction"}),
            ("hokusai-registry", {"hokusai-registry"}),
            ("nobody", set()),
        ],
    )
    async def test_old_names_of_a_service_mean_the_same(
        self, admin: httpx.AsyncClient, service_id: str, found: set[str]
    ) -> None:
        key_id = (await a_key(admin)).key_id
        for name in ("platform", "website", "ml-platform", "prediction", "hokusai-registry"):
            await report(admin, key_id, service_id=name)

        days = (await told(admin, "aggregate", service_id=service_id))["usage_by_date"]

        assert {service for day in days.values() for service in day} == found

    @pytest.mark.parametrize(
        ("start", "end", "days"),
        [
            ("2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z", ["2026-03-01"]),
            ("2026-03-02T00:00:00Z", "2026-03-02T23:59:59Z", ["2026-03-02"]),
            ("2026-03-02T00:00:00Z", "2026-03-02T00:00:00.000001Z", ["2026-03-02"]),
            ("2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z", []),
            ("2026-03-02", "2026-03-02", ["2026-03-02"]),
            ("2026-03-01", "2026-03-02", ["2026-03-01", "2026-03-02"]),
            ("2026-03-01T23:30:00-01:00", "2026-03-03T00:30:00+01:00", ["2026-03-02"]),
            ("2026-03-04", "2026-04-01", []),
        ],
    )
    async def test_whole_days_that_the_span_touches(
        self, api: Surroundings, admin: httpx.AsyncClient, start: str, end: str, days: list[str]
    ) -> None:
        key_id = (await a_key(admin)).key_id
        for _ in range(3):
            await report(admin, key_id)
            api.time.pass_by(DAY_SECONDS)

        told_of = await told(admin, "aggregate", start_date=start, end_date=end)

        assert list(told_of["usage_by_date"]) == days

    @pytest.mark.parametrize(
        ("end", "told_as"),
        [("2026-03-02", "2026-03-02T23:59:59Z"), ("9999-12-31", "9999-12-31T23:59:59Z")],
    )
    async def test_a_day_as_an_end_is_meant_as_a_whole(
        self, admin: httpx.AsyncClient, end: str, told_as: str
    ) -> None:
        assert (await told(admin, "aggregate", end_date=end))["end_date"] == told_as

    async def test_without_a_start_it_is_thirty_days_before_the_end(self, admin: httpx.AsyncClient) -> None:
        span = await told(admin, "aggregate", end_date="2025-01-31T01:02:03")

        assert (span["start_date"], span["end_date"]) == ("2025-01-01T01:02:03Z", "2025-01-31T01:02:03Z")


async def test_all_three_tell_the_same_of_one_span(admin: httpx.AsyncClient) -> None:
    key_id = (await a_key(admin)).key_id
    for number in range(7):
        await report(admin, key_id, predictions_count=number, compute_ms=number + 0.125)

    stats, bill = await told(admin, f"{key_id}/stats"), await told(admin, f"{key_id}/billing")
    day = (await told(admin, "aggregate"))["usage_by_date"]["2026-03-01"]["platform"]

    sums = {name: stats[f"total_{name}"] for name in ("requests", "predictions", "compute_ms")}
    assert sums == {"requests": 7, "predictions": 21, "compute_ms": 21.875}
    assert bill["current_usage"] == sums
    assert {name: day[name] for name in sums} == sums


class TestRefused400:
    @pytest.mark.parametrize(
        "period", ["", "2026", "2026-3", "2026-13", "2026-00", "0000-01", "2026-03-01", "\u0662026-03", "now"]
    )
    async def test_no_month(self, admin: httpx.AsyncClient, period: str) -> None:
        key_id = (await a_key(admin)).key_id

        answer = await admin.get(f"{USAGE}/{key_id}/stats", params={"period": period})

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("period: ")

    @pytest.mark.parametrize("name", ["start_date", "end_date"])
    @pytest.mark.parametrize(
        "text", ["", "yesterday", "0", "1767225600", "1969-12-31", "9999-12-31T23:59:59-01:00", "2026-02-30"]
    )
    async def test_no_time(self, admin: httpx.AsyncClient, name: str, text: str) -> None:
        answer = await admin.get(f"{USAGE}/aggregate", params={name: text})

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(f"{name}: ")

    async def test_a_start_after_the_end(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.get(f"{USAGE}/aggregate?start_date=2026-03-02&end_date=2026-03-01")

        assert answer.status_code == 400
        assert answer.json() == {"detail": "start_date: must not come after end_date"}

    @pytest.mark.parametrize("service_id", ["", "%00", "x" * 256])
    async def test_no_service(self, admin: httpx.AsyncClient, service_id: str) -> None:
        answer = await admin.get(f"{USAGE}/aggregate?service_id={service_id}")

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("service_id: ")


class TestRefused401:
    @pytest.mark.parametrize("path", EVERY)
    async def test_without_the_admins_token(self, anyone: httpx.AsyncClient, path: str) -> None:
        for headers, detail in (
            ({}, "Not authenticated"),
            ({"Authorization": "Bearer wrong"}, "Invalid authentication credentials"),
        ):
            answer = await anyone.get(f"{path}?period=x&start_date=x", headers=headers)
            assert (answer.status_code, answer.json()) == (401, {"detail": detail})


class TestRefused404:
    @pytest.mark.parametrize("what", OF_A_KEY)
    @pytest.mark.parametrize("key_id", [UNKNOWN_ID, *MALFORMED_IDS])
    async def test_no_key_has_this_id(self, admin: httpx.AsyncClient, key_id: str, what: str) -> None:
        answer = await admin.get(f"{USAGE}/{key_id}/{what}")

        assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})


class TestRefused503:
    @pytest.mark.parametrize("what", [*OF_A_KEY, "aggregate"])
    @pytest.mark.parametrize("state", ["is_away", "not is_filled"])
    async def test_rather_than_half_of_the_sums(
        self, picture: MemoryUsageReadModels, admin: httpx.AsyncClient, what: str, state: str
    ) -> None:
        key_id = (await a_key(admin)).key_id
        picture.is_away, picture.is_filled = state == "is_away", False

        path = what if what == "aggregate" else f"{key_id}/{what}"
        answer = await admin.get(f"{USAGE}/{path}")

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")

    async def test_not_where_the_log_is_away(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        key_id = (await a_key(admin)).key_id
        api.appends.is_away = True
        api.reader.fall_silent()

        for path in (f"{key_id}/stats", f"{key_id}/billing", "aggregate"):
            assert (await admin.get(f"{USAGE}/{path}")).status_code == 200
        api.reader.speak()
