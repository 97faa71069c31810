"""/health for balancers, /ready for people and dashboards, /metrics for Prometheus."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from services.api.metrics import CONTENT_TYPE, exposition
from services.api.routes.admin import state_of
from services.api.schemas import Health, Readiness
from services.api.state import State

router = APIRouter(tags=["operations"])
Opened = Annotated[State, Depends(state_of)]


@router.get("/health", responses={503: {"model": Health, "description": "This worker can't validate"}})
async def health(response: Response, state: Opened) -> Health:
    """200 exactly while this worker can answer validations."""
    if state.health.is_stale:
        response.status_code = 503
        return Health(status="unavailable")
    return Health(status="ok")


@router.get("/ready", responses={503: {"model": Readiness, "description": "Something is missing"}})
async def ready(response: Response, state: Opened) -> Readiness:
    """Whether every dependency is there. No balancer should ask this: validation needs none of them."""
    checks = await state.health.checks()
    if all(checks.values()):
        return Readiness(status="ready", checks=checks)
    response.status_code = 503
    return Readiness(status="not ready", checks=checks)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(state: Opened) -> Response:
    """The metrics of all workers of this node."""
    return Response(exposition(state.node, state.clock), media_type=CONTENT_TYPE)
