"""What needs no quotes goes to Postgres as it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from services.projector.array_text import array_text


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        ([], "{}"),
        ([5, 2**63 - 1], "{5,9223372036854775807}"),
        (["0190a0a0-0000-7000-8000-000000000001"], "{0190a0a0-0000-7000-8000-000000000001}"),
        (
            [datetime(2026, 3, 10, 12, tzinfo=UTC)] * 2,
            "{2026-03-10 12:00:00+00:00,2026-03-10 12:00:00+00:00}",
        ),
    ],
)
def test_an_array_is_its_elements_with_commas_between(
    elements: Sequence[str | datetime | int], text: str
) -> None:
    assert array_text(elements) == text
