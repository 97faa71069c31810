"""The answers that several routes have, as OpenAPI shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.api.schemas import Problem

Answer = Mapping[int | str, Any]

BAD_REQUEST: Answer = {400: {"model": Problem, "description": "Bad body or parameters"}}
CHALLENGE = {"WWW-Authenticate": {"description": "`Bearer`", "required": True, "schema": {"type": "string"}}}
UNAUTHORIZED: Answer = {
    401: {"model": Problem, "description": "No or wrong admin token", "headers": CHALLENGE}
}
NOT_FOUND: Answer = {404: {"model": Problem, "description": "No such key"}}
TOO_LARGE: Answer = {413: {"model": Problem, "description": "Body over 64 KiB"}}
ENCODED: Answer = {415: {"model": Problem, "description": "Compressed body"}}
#: Of every route that reads a body.
BODY: Answer = {**BAD_REQUEST, **TOO_LARGE, **ENCODED}
UNAVAILABLE: Answer = {503: {"model": Problem, "description": "The read model is away or behind the log"}}
