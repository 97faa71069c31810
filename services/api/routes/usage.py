"""The usage routes: a use is reported or debited; its sums are told by month, as a bill, and by day."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer

from events.lineage import Key
from events.process_logs import REQUEST_ID
from services.api.commands import Requester
from services.api.errors import KeyNotFound
from services.api.http.bearer_tokens import BearerTokens
from services.api.routes.admin import AdminRoute, GuardedRoute, known_form, state_of
from services.api.routes.answers import (
    BAD_REQUEST,
    BODY,
    CHALLENGE,
    NOT_FOUND,
    UNAUTHORIZED,
    UNAVAILABLE,
    Answer,
)
from services.api.schemas import Message, Problem
from services.api.state import State
from services.api.usage_read_models import MOST_DAYS_OF_USE
from services.api.usage_schemas import (
    COUNTS_ONCE,
    DateTime,
    DebitUsage,
    EndDateTime,
    IdempotencyKey,
    Period,
    RecordUsage,
    ServiceName,
    UnconfirmedUsage,
    UsageAggregate,
    UsageBilling,
    UsageStats,
)
from services.api.validation.platform_services import same_service

PREFIX = "/api/v1/usage"
#: In OpenAPI: whoever reports usage needs no token, unless one is configured.
OPTIONAL_TOKEN: dict[str, Any] = {"security": [{"UsageToken": []}, {}]}
AGGREGATED = timedelta(days=30)

UNCONFIRMED: Answer = {
    503: {"model": UnconfirmedUsage, "description": "Not confirmed in time: it may still be recorded"}
}
CONFLICT: Answer = {
    409: {"model": Problem, "description": "The idempotency key was used to report another use of this key"}
}
NO_TOKEN: Answer = {
    401: {"model": Problem, "description": "No or wrong usage token, where one is set", "headers": CHALLENGE}
}


class ReportRoute(GuardedRoute):
    """For whoever has the usage token, where there is one."""

    def tokens(self, state: State) -> BearerTokens | None:
        return state.usage_tokens


# Dependencies that are no coroutines take a thread for each request.
async def opened(request: Request) -> State:
    """What the lifespan has opened."""
    return state_of(request)


async def reporter(request: Request) -> Requester:
    """Somebody who reports usage; with a token, one that we know."""
    actor = "usage" if state_of(request).usage_tokens is None else "usage-token"
    return Requester(actor, REQUEST_ID.get())


async def idempotency_key(
    request: Request,
    given: Annotated[
        IdempotencyKey | None,
        Header(alias="Idempotency-Key", description=f"a use that is reported again under it {COUNTS_ONCE}"),
    ] = None,
) -> str | None:
    """What the caller calls this use."""
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise _bad("header", "Idempotency-Key", "given more than once")
    return given


Opened = Annotated[State, Depends(opened)]
By = Annotated[Requester, Depends(reporter)]

reports = APIRouter(
    prefix=PREFIX,
    tags=["usage"],
    route_class=ReportRoute,
    responses={**BODY, **NO_TOKEN, **NOT_FOUND, **CONFLICT, **UNCONFIRMED},
    strict_content_type=False,
)
# The route class checks the token; this only puts the scheme into OpenAPI.
answers = APIRouter(
    prefix=PREFIX,
    tags=["usage"],
    route_class=AdminRoute,
    dependencies=[Security(HTTPBearer(auto_error=False, description="ADMIN_TOKEN"))],
    responses={**UNAUTHORIZED, **UNAVAILABLE},
)


@reports.post("/{key_id}", openapi_extra=OPTIONAL_TOKEN)
async def record_usage(
    key_id: str,
    body: RecordUsage,
    state: Opened,
    by: By,
    event_id: Annotated[str | None, Depends(idempotency_key)],
) -> Message:
    """Record that a key served a request. Once this is answered 200, the use is in the log.

    Reported again under the same `Idempotency-Key` within 35 days it counts once, and another use under it is
    409. Where that is not known yet the answer is 200, but the first use counts alone.
    """
    return await _record("record_usage", key_id, body, event_id, state, by)


@reports.post("/{key_id}/debit", openapi_extra=OPTIONAL_TOKEN)
async def debit_usage(key_id: str, body: DebitUsage, state: Opened, by: By) -> Message:
    """Record the same before the request is served. Nothing is ever refused for lack of balance."""
    return await _record("debit_usage", key_id, body, body.idempotency_key, state, by)


@answers.get("/aggregate", response_model=UsageAggregate, responses={**BAD_REQUEST})
async def aggregate(
    state: Opened,
    service_id: ServiceName | None = None,
    start_date: Annotated[DateTime | None, Query(description="default: 30 days before the end")] = None,
    end_date: Annotated[EndDateTime | None, Query(description="itself excluded; default: now")] = None,
) -> Response:
    """Uses by day and reporting service, of every whole day that the span touches, its end excluded."""
    end = end_date or state.clock.now()
    start = start_date or end - AGGREGATED
    if start > end:
        raise _bad("query", "start_date", "must not come after end_date")
    # Today's services go by several names; others are taken as they are.
    services = None if service_id is None else same_service(service_id) or [service_id]
    # Spans that meet at a midnight share no day.
    last = (end - timedelta.resolution).date()
    days = await state.usage_read_models.days(start.date(), last, services)
    if len(days) > MOST_DAYS_OF_USE:
        raise _bad("query", "start_date", "the span has too much to tell, shorten it or name a service_id")
    # Beside the event loop: ten thousand rows would hold up everybody else for a tenth of a second.
    body = await asyncio.to_thread(lambda: UsageAggregate.of(start, end, days).model_dump_json())
    return Response(body, media_type="application/json")


@answers.get("/{key_id}/stats", responses={**BAD_REQUEST, **NOT_FOUND})
async def stats(
    key_id: str,
    state: Opened,
    period: Annotated[Period | None, Query(description="a month, `YYYY-MM`; default: this one")] = None,
) -> UsageStats:
    """What the key and all others of its lineage used in a month."""
    key = _known(key_id, state)
    month = date.fromisoformat(f"{period}-01") if period else _this_month(state)
    used = await state.usage_read_models.month(key.lineage_id, month)
    return UsageStats.of(key.key_id, month, used)


@answers.get("/{key_id}/billing", responses={**NOT_FOUND})
async def billing(key_id: str, state: Opened) -> UsageBilling:
    """What the key and all others of its lineage used in this month, and what it costs."""
    key = _known(key_id, state)
    month = _this_month(state)
    charges = await state.usage_read_models.charges(key.lineage_id, month)
    settings = key.settings
    return UsageBilling.of(
        key.key_id, settings.billing_plan, settings.monthly_prediction_limit, charges, _end(month)
    )


async def _record(
    command: str, key_id: str, body: RecordUsage, event_id: str | None, state: State, by: Requester
) -> Message:
    with state.metrics.command(command):
        await state.usage_commands.record(body.use_of(known_form(key_id)), event_id, by)
    return Message(message="Usage recorded successfully")


def _known(key_id: str, state: State) -> Key:
    key = state.directory.key(known_form(key_id))
    if key is None:
        raise KeyNotFound
    return key


def _this_month(state: State) -> date:
    """The month that it is now in UTC, by its first day."""
    return state.clock.now().date().replace(day=1)


def _end(month: date) -> datetime:
    next_month = (month + timedelta(days=31)).replace(day=1)
    return datetime.combine(next_month, time(), UTC)


def _bad(place: str, name: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": (place, name), "msg": message, "type": "usage"}])
