"""What all admin routes share: the bearer token, JSON bodies read strictly, and who asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from services.api.commands import Requester
from services.api.state import State

ACTOR = "admin"
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class StrictRequest(Request):
    """Reads JSON as the standard has it: no NaN, no endless nesting, no lone surrogates."""

    async def json(self) -> Any:
        return orjson.loads(await self.body())


class AdminRoute(APIRoute):
    """Checks the token before anything of the request is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def check_and_handle(request: Request) -> Response:
            state_of(request).admin_tokens.check(request.headers.getlist("authorization"))
            return await handle(StrictRequest(request.scope, request.receive))

        return check_and_handle


def requester(request: Request) -> Requester:
    """Who asks; the caller's `X-Request-ID` where it is a plain one."""
    given = request.headers.get("x-request-id", "")
    is_plain = _CORRELATION_ID.fullmatch(given) and "hk_" not in given  # a key, by mistake
    return Requester(ACTOR, given if is_plain else str(uuid4()))


def state_of(request: Request) -> State:
    """What the lifespan has opened."""
    state: State = request.state.hokusai
    return state
