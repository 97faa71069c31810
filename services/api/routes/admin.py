"""What routes behind a token share: the bearer token, JSON bodies read strictly, and who asks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope

from events.process_logs import REQUEST_ID
from services.api.commands import Requester
from services.api.errors import KeyNotFound
from services.api.http.bearer_tokens import BearerTokens
from services.api.http.json_bodies import EncodedBody, MalformedBody, read_json, refuse_encoded
from services.api.state import State
from services.api.verdict import Verdict

ACTOR = "admin"


class StrictRequest(Request):
    """Reads JSON as the standard has it, whatever type the request gives it: see `read_json`."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"content-type"]
        super().__init__({**scope, "headers": headers}, receive)

    async def json(self) -> Any:
        try:
            refuse_encoded(dict(self.scope["headers"]))
            return read_json(await self.body())
        except MalformedBody as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
        except EncodedBody:
            raise HTTPException(Verdict.ENCODED.status, Verdict.ENCODED.text) from None


class GuardedRoute(APIRoute):
    """Checks the token, where one is asked for, before anything of the request is read."""

    def tokens(self, state: State) -> BearerTokens | None:
        """Those that open the route."""
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def check_and_handle(request: Request) -> Response:
            if (tokens := self.tokens(state_of(request))) is not None:
                tokens.check(request.headers.getlist("authorization"))
            strict = StrictRequest(request.scope, request.receive)
            await strict.body()  # to its end: nothing is done on a message that breaks off
            return await handle(strict)

        return check_and_handle


class AdminRoute(GuardedRoute):
    """For whoever has the admin token."""

    def tokens(self, state: State) -> BearerTokens:
        return state.admin_tokens


async def requester(request: Request) -> Requester:
    """The admin, who asks."""
    address = request.client.host if request.client else ""
    return Requester(ACTOR, REQUEST_ID.get(), address, lambda: hung_up(request))


async def hung_up(request: Request) -> None:
    """Return once the caller has hung up. The request must have been read to its end."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def known_form(key_id: str) -> str:
    """An id that has not even the form of one belongs to no key."""
    try:
        return str(UUID(key_id))
    except ValueError:
        raise KeyNotFound from None


def state_of(request: Request) -> State:
    """What the lifespan has opened."""
    state: State = request.state.hokusai
    return state
