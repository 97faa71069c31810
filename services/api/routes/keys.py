"""The admin routes of a key's life: create, list, get, revoke, rotate."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer

from services.api.commands import Issue, Requester
from services.api.errors import KeyNotFound
from services.api.http.json_stream import JsonStream
from services.api.key_listing import KeyListing
from services.api.read_models import Page
from services.api.routes.admin import AdminRoute, known_form, requester, state_of
from services.api.routes.answers import (
    BAD_REQUEST,
    BODY,
    NOT_FOUND,
    UNAUTHORIZED,
    UNAVAILABLE,
    Answer,
)
from services.api.schemas import (
    ApiKeyInfo,
    CreateKey,
    IssuedApiKey,
    Message,
    Problem,
    RotateKey,
    ServiceId,
    UnconfirmedChange,
)
from services.api.state import State
from services.api.validation.platform_services import same_service

CONFLICT: Answer = {
    409: {"model": Problem, "description": "Changed at the same time, or it can't change any more"}
}
UNCONFIRMED: Answer = {
    503: {
        "model": UnconfirmedChange | Problem,
        "description": "Not confirmed in time: with a `key_id`, it may still take effect",
    }
}

# The route class checks the token; this only puts the scheme into OpenAPI.
router = APIRouter(
    prefix="/api/v1/keys",
    tags=["keys"],
    route_class=AdminRoute,
    dependencies=[Security(HTTPBearer(auto_error=False, description="ADMIN_TOKEN"))],
    responses={**UNAUTHORIZED},
    strict_content_type=False,
)


Opened = Annotated[State, Depends(state_of)]
By = Annotated[Requester, Depends(requester)]


@router.post("", status_code=201, responses={**BODY, **UNCONFIRMED})
async def create_key(body: CreateKey, state: Opened, by: By) -> IssuedApiKey:
    """Create a key. This answer is the only place where the full key ever appears."""
    with state.metrics.command("create"):
        issue = await state.commands.create(body.settings(user_id=by.actor), by)
    return _issued(issue, state.clock.now())


@router.get("", response_model=list[ApiKeyInfo], responses={**BAD_REQUEST, **UNAVAILABLE})
async def list_keys(
    request: Request,
    state: Opened,
    service_id: ServiceId | None = None,
    active_only: Annotated[bool, Query(description="neither inactive nor expired")] = False,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
    cursor: Annotated[str | None, Query(max_length=200, description="from the `Link` header")] = None,
) -> Response:
    """All keys, oldest first, revoked ones included. With `limit`, a page; `Link` names the next one."""
    listing = KeyListing(
        state.read_models,
        state.directory.positions(),
        state.clock.now(),
        services=None if service_id is None else same_service(service_id),
        active_only=active_only,
    )
    page = await listing.page(None if cursor is None else _read_cursor(cursor), limit)
    if limit is None and page.following is not None:
        return JsonStream(listing.chunks(page))
    answer = Response(b"[%s]" % page.keys, media_type="application/json")
    if page.following is not None:
        query = {**request.query_params, "cursor": _write_cursor(page.following)}
        answer.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
    return answer


@router.get("/{key_id}", responses={**NOT_FOUND, **UNAVAILABLE})
async def get_key(key_id: str, state: Opened) -> ApiKeyInfo:
    """One key."""
    passed = state.directory.positions()
    key = await state.read_models.get_key(known_form(key_id), passed, state.clock.now())
    if key is None:
        raise KeyNotFound
    return key


@router.delete("/{key_id}", responses={**NOT_FOUND, **CONFLICT, **UNCONFIRMED})
async def revoke_key(key_id: str, state: Opened, by: By) -> Message:
    """Revoke a key at once; the current key takes older ones in grace along. Twice is as good as once."""
    with state.metrics.command("revoke"):
        await state.commands.revoke(known_form(key_id), by)
    return Message(message="API key revoked successfully")


@router.post(
    "/{key_id}/rotate",
    responses={**BODY, **NOT_FOUND, **CONFLICT, **UNCONFIRMED},
)
async def rotate_key(key_id: str, state: Opened, by: By, body: RotateKey | None = None) -> IssuedApiKey:
    """Replace a key by a new one with the same settings; the old one dies at once, or after a grace."""
    with state.metrics.command("rotate"):
        issue = await state.commands.rotate(known_form(key_id), (body or RotateKey()).grace, by)
    return _issued(issue, state.clock.now())


def _issued(issue: Issue, now: datetime) -> IssuedApiKey:
    return IssuedApiKey(api_key=issue.secret, key_id=issue.key.key_id, key_info=ApiKeyInfo.of(issue.key, now))


def _write_cursor(following: Page) -> str:
    place = orjson.dumps([following.after_time.isoformat(), following.after_key])
    return base64.urlsafe_b64encode(place).decode()


def _read_cursor(cursor: str) -> Page:
    try:
        time, key_id = orjson.loads(base64.urlsafe_b64decode(cursor))
        return Page(datetime.fromisoformat(time).astimezone(UTC), str(UUID(key_id)))
    except (binascii.Error, ValueError, TypeError, AttributeError, OverflowError):
        raise RequestValidationError(
            [{"loc": ("query", "cursor"), "msg": "not a cursor of this list", "type": "cursor"}]
        ) from None
