"""What a request for validation holds: the key, and what it is wanted for."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Message, Receive, Scope

from services.api.http.client_address import ClientAddress
from services.api.http.credentials import BLANKS, read_credential
from services.api.http.json_bodies import MalformedBody, read_json, refuse_encoded
from services.api.http.middleware import MAX_BODY_BYTES, BodyTooLarge, declared_length
from services.api.validator import Question

QUESTION_FIELDS = ("service_id", "required_scope", "client_ip", "api_key")
SCHEMES = (b"bearer", b"apikey")
CREDENTIALS = {b"authorization": "Authorization", b"x-api-key": "X-API-Key"}
NOTHING: dict[str, object] = {}


def refuse_declared_too_large(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Raise `BodyTooLarge` where the request says that its body is over the limit, which has five digits."""
    length = headers.get(b"content-length", b"")
    is_worth_a_look = len(length) > 4 or len(headers) != len(scope["headers"])
    if is_worth_a_look and declared_length(scope) > MAX_BODY_BYTES:
        raise BodyTooLarge


def key_in_headers(scope: Scope, headers: Mapping[bytes, bytes]) -> bytes | None:
    """`Authorization: Bearer` (or `ApiKey`) first, then `X-API-Key`. Each may come once."""
    if len(headers) != len(scope["headers"]):
        _refuse_two_keys(scope)
    if (authorization := headers.get(b"authorization")) is not None:
        scheme, _, credential = authorization.partition(b" ")
        # Nearly every request is written like this; reading any other form takes longer.
        if scheme == b"Bearer" and (key := credential.strip()):
            return key
        if credential := read_credential(authorization, SCHEMES) or b"":
            return credential
    if (api_key := headers.get(b"x-api-key")) is not None:
        return api_key.strip() or None
    return None


def key_in_body(fields: Mapping[str, object]) -> bytes | None:
    """The key, where no header has one."""
    key = fields.get("api_key")
    return key.strip(BLANKS).encode() or None if isinstance(key, str) else None


def parse(body: bytes, headers: Mapping[bytes, bytes]) -> Mapping[str, object]:
    """The fields of the body; those that are known are strings or null. Raises `MalformedBody`.

    Raises `EncodedBody` for one that is compressed.
    """
    if not body:
        return NOTHING
    if b"content-encoding" in headers:
        refuse_encoded(headers)
    fields = read_json(body)
    if fields is None:
        return NOTHING
    if not isinstance(fields, dict):
        raise MalformedBody("body: must be a JSON object")
    for name, value in fields.items():
        if type(value) is not str and value is not None and name in QUESTION_FIELDS:
            raise MalformedBody(f"{name}: must be a string or null")
    return fields


def question_in(fields: Mapping[str, object], scope: Scope, client_address: ClientAddress) -> Question:
    """What the caller wants to know; the address is its own where it gives none."""
    client_ip = fields.get("client_ip")
    if client_ip is None:
        client_ip = client_address(scope)
    return Question(fields.get("service_id"), fields.get("required_scope"), client_ip)  # type: ignore[arg-type]


async def whole_body(message: Message, receive: Receive) -> bytes | None:
    """The body that begins with this message, or None where the caller hung up. Raises `BodyTooLarge`."""
    body: bytes = message.get("body", b"")
    while message.get("more_body", False) and len(body) <= MAX_BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge
    return None if message["type"] == "http.disconnect" else body


def _refuse_two_keys(scope: Scope) -> None:
    """Which of them would another server have taken?"""
    names = [name for name, _ in scope["headers"]]
    for name, shown in CREDENTIALS.items():
        if names.count(name) > 1:
            raise MalformedBody(f"{shown}: given more than once")
