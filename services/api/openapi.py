"""OpenAPI as the service really answers: 400 instead of 422, and the hot path that no router sees."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from services.api.routes import validation
from services.api.routes.answers import CHALLENGE
from services.api.schemas import Problem, RefusedKey, ValidateKey, ValidKey

REFERENCE = "#/components/schemas/{model}"


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the whole service."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)

    _, definitions = models_json_schema(
        [(ValidateKey, "validation"), (ValidKey, "serialization"), (RefusedKey, "serialization")],
        ref_template=REFERENCE,
    )
    schemas.update(definitions["$defs"])
    document["components"].setdefault("securitySchemes", {}).update(
        {
            "KeyAsBearer": {"type": "http", "scheme": "bearer", "description": "the API key itself"},
            "UsageToken": {"type": "http", "scheme": "bearer", "description": "USAGE_TOKEN, where it is set"},
            "KeyInHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    )
    document["paths"][validation.PATH] = {"post": _validate_operation()}
    return document


def _header(description: str, kind: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": kind}}


#: The windows are clock hours in UTC, and belong to all keys that rotation has strung together.
LIMIT_HEADERS = {
    "RateLimit-Limit": _header("Requests that pass in an hour", "integer"),
    "RateLimit-Remaining": _header("Those that are left of this hour", "integer"),
    "RateLimit-Reset": _header("Seconds until the next hour", "integer"),
    "RateLimit-Policy": _header('The limit as a policy: `"hourly";q=1000;w=3600`', "string"),
    "RateLimit": _header('What is left of it: `"hourly";r=998;t=1234`', "string"),
}


def _validate_operation() -> dict[str, Any]:
    def answer(description: str, model: str) -> dict[str, Any]:
        return {
            "description": description,
            "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model=model)}}},
        }

    return {
        "tags": ["validation"],
        "summary": "May this key pass?",
        "description": (
            "The key is taken from `Authorization: Bearer`, else `X-API-Key`, else the body. "
            "A key that may not pass is 401, whatever the reason."
        ),
        "operationId": "validate_key",
        "security": [{"KeyAsBearer": []}, {"KeyInHeader": []}, {}],
        "requestBody": {
            "required": False,
            "content": {
                "application/json": {
                    "schema": {"anyOf": [{"$ref": REFERENCE.format(model="ValidateKey")}, {"type": "null"}]}
                }
            },
        },
        "responses": {
            "200": {**answer("The key may pass", ValidKey.__name__), "headers": LIMIT_HEADERS},
            "400": answer("No key, or a body that can't be understood", Problem.__name__),
            "401": {
                **answer("The key may not pass; limit headers where it is known", RefusedKey.__name__),
                "headers": {
                    **{name: {**header, "required": False} for name, header in LIMIT_HEADERS.items()},
                    **CHALLENGE,
                },
            },
            "413": answer("Body over 64 KiB", Problem.__name__),
            "415": answer("Compressed body", Problem.__name__),
            "429": {
                **answer("The key would pass, but its hour is used up", Problem.__name__),
                "headers": {
                    **LIMIT_HEADERS,
                    "Retry-After": _header("Seconds until the next hour", "integer"),
                },
            },
            "503": answer("Out of touch with the log, or busy; ask again", Problem.__name__),
        },
    }
