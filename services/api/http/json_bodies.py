"""JSON bodies read strictly: UTF-8, no NaN, no lone surrogates, no endless nesting, no member twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NOT_JSON = "body: not valid JSON"


class MalformedBody(Exception):
    """The body can't be understood; the message names the field."""


class EncodedBody(Exception):
    """The body is compressed, which nobody undoes here: a few bytes could become any number."""


def read_json(body: bytes) -> Any:
    """What the body says. Raises `MalformedBody`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        if not body.startswith(BYTE_ORDER_MARK):
            raise MalformedBody(NOT_JSON) from None
        body = body[len(BYTE_ORDER_MARK) :]
        found = _loads(body)
    # Nearly every body has as many colons as members, and needs no closer look.
    if type(found) is not dict or body.count(b":") != len(found):
        _refuse_members_given_twice(body, found)
    return found


def refuse_encoded(headers: Mapping[bytes, bytes]) -> None:
    """Raise `EncodedBody` where the request says that its body is compressed."""
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
        raise EncodedBody


def _loads(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedBody(NOT_JSON) from None


def _refuse_members_given_twice(body: bytes, found: object) -> None:
    if _is_flat_and_distinct(body, found):
        return
    try:
        # Numbers stay texts: some are too long to be worth reading again.
        json.loads(body, object_pairs_hook=_distinct, parse_int=str, parse_float=str)
    except RecursionError:
        raise MalformedBody("body: nested too deeply") from None


def _is_flat_and_distinct(body: bytes, found: object) -> bool:
    """Whether it can be told by counting colons that no member came twice; names take ten times as long."""
    colons = body.count(b":")
    if not isinstance(found, dict):
        return colons == 0
    if b"\\" in body:  # a colon may be written as an escape
        return False
    return colons == len(found) + sum(value.count(":") for value in found.values() if type(value) is str)


def _distinct(members: list[tuple[str, object]]) -> None:
    names = [name for name, _ in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedBody(f"{twice[:100]}: given more than once")
