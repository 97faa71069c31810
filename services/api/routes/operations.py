"""/health for balancers, /ready for people and dashboards, /metrics for Prometheus.

The last two are answered from what was found within a second: whoever asks them often holds nobody up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.metrics import CONTENT_TYPE
from services.api.routes.admin import state_of
from services.api.schemas import Health, Readiness
from services.api.state import State

health_router = APIRouter(tags=["operations"])
router = APIRouter(tags=["operations"])
Opened = Annotated[State, Depends(state_of)]
Endpoint = Callable[[State], Awaitable[Response]]


@health_router.get(
    "/health",
    response_model=Health,
    responses={503: {"model": Health, "description": "This worker can't validate"}},
)
async def health(state: Opened) -> Response:
    """200 exactly while this worker can answer validations."""
    if state.health.is_stale:
        return JSONResponse({"status": "unavailable"}, HTTPStatus.SERVICE_UNAVAILABLE)
    return JSONResponse({"status": "ok"})


@router.get(
    "/ready",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Something is missing"}},
)
async def ready(state: Opened) -> Response:
    """Whether every dependency is there. No balancer should ask this: validation needs none of them."""
    checks = dict(await state.checks.get())
    if all(checks.values()):
        return JSONResponse({"status": "ready", "checks": checks})
    return JSONResponse({"status": "not ready", "checks": checks}, HTTPStatus.SERVICE_UNAVAILABLE)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(state: Opened) -> Response:
    """The metrics of all workers of this node."""
    return Response(await state.metrics_text.get(), media_type=CONTENT_TYPE)


class OperationsInFront:
    """Answers them before the router: finding and calling a route there costs ten times as much.

    The router documents them, and refuses other methods.
    """

    def __init__(self, app: ASGIApp, *, are_public: bool) -> None:
        """`are_public`: /ready and /metrics have no port of their own."""
        self._app = app
        self._endpoints: Mapping[str, Endpoint] = {"/health": health}
        if are_public:
            self._endpoints = {"/health": health, "/ready": ready, "/metrics": metrics}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        response = await endpoint(scope["state"]["hokusai"])
        await response(scope, receive, send)
