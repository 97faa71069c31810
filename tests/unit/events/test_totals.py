"""What processors announce, to bytes and back: exact, strict, and whatever a record holds is answered."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from events.codec import Total, decode, decode_total, encode
from events.errors import UnreadableRecord
from events.totals import hour_text
from tests.builders import some_usage
from tests.totals import HOUR, a_statement_closed, a_statement_line, a_window_count, some_hourly_usage

HOURLY, COUNT, CLOSED = some_hourly_usage(), a_window_count(), a_statement_closed()
ANOTHER = "00000000-0000-7000-8000-000000000000"
TOTALS: list[Total] = [HOURLY, COUNT, CLOSED]

every_total = pytest.mark.parametrize("total", TOTALS, ids=lambda total: type(total).__name__)

SUMS = st.integers(0, 2**63 - 1)
CENTS = st.decimals(-(10**20) + 1, 10**20 - 1, places=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@every_total
def test_a_total_is_read_as_it_was_written(total: Total) -> None:
    assert decode_total(encode(total)) == total


@given(
    st.builds(
        some_hourly_usage, predictions=SUMS, compute_us=SUMS, response_time_us=SUMS, service_id=st.just("s")
    )
)
def test_whatever_an_hour_sums_up_to_survives_the_log(total: Total) -> None:
    assert decode_total(encode(total)) == total


@given(
    st.builds(a_statement_line, amount=CENTS, unit_price=CENTS, requests=SUMS.map(lambda sum_: -sum_)), CENTS
)
def test_amounts_are_read_to_the_last_digit(line: Any, amount: Decimal) -> None:
    closed = a_statement_closed(lines=(line,), total=amount)
    read = decode_total(encode(closed))
    assert read == closed
    assert encode(read) == encode(closed)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Decimal("0.500000"), "0.500000"),
        (Decimal("-12"), "-12"),
        (Decimal("0E-9"), "0.000000000"),
        (Decimal("1E+3"), "1000"),
    ],
    ids=str,
)
def test_an_amount_is_a_text_that_every_decimal_reads(amount: Decimal, text: str) -> None:
    written = json.loads(encode(a_statement_closed(total=amount)))
    assert written["data"]["total"] == text


@pytest.mark.parametrize(
    "amount", [Decimal("NaN"), Decimal("Infinity"), Decimal("1E+20"), Decimal("1E-13"), 1, 0.5, None], ids=str
)
def test_what_is_no_exact_amount_is_not_written(amount: Any) -> None:
    with pytest.raises(ValidationError, match="not a decimal number as text"):
        a_statement_closed(total=amount)


PLACES = {
    "hour": (HOURLY, []),
    "its sums": (HOURLY, ["data"]),
    "count": (COUNT, []),
    "statement": (CLOSED, ["data"]),
    "line": (CLOSED, ["data", "lines", 0]),
}
every_place = pytest.mark.parametrize(("total", "path"), PLACES.values(), ids=PLACES)


@every_place
def test_an_unknown_field_is_refused_when_writing_and_ignored_when_reading(
    total: Total, path: list[Any]
) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        type(total).model_validate(_changed(total.model_dump(), [*path, "unheard_of"], 1))
    assert decode_total(_bytes(total, [*path, "unheard_of"], {"nested": [1, None]})) == total


@pytest.mark.parametrize(
    ("total", "path", "value"),
    [
        (HOURLY, ["data", "predictions"], "9"),
        (HOURLY, ["data", "predictions"], 9.0),
        (HOURLY, ["data", "predictions"], True),
        (HOURLY, ["data", "compute_us"], -1),
        (HOURLY, ["data", "compute_us"], 2**63),
        (HOURLY, ["data", "requests"], -1),
        (HOURLY, ["data", "revision"], 0),
        (HOURLY, ["data", "hour"], "2026-01-31T23:30:00Z"),
        (HOURLY, ["data", "hour"], "2026-01-31T23:00:01Z"),
        (HOURLY, ["data", "hour"], 1769900400),
        (HOURLY, ["data", "service_id"], "a\x00b"),
        (COUNT, ["kind"], "guesses"),
        (COUNT, ["hour"], 2**53),
        (COUNT, ["hour"], "491591"),
        (COUNT, ["count"], -1),
        (COUNT, ["last_used"], {"not a key": 1}),
        (COUNT, ["last_used"], {ANOTHER: 2**53}),
        (CLOSED, ["data", "total"], 0.498),
        (CLOSED, ["data", "total"], 1),
        (CLOSED, ["data", "total"], "1e3"),
        (CLOSED, ["data", "total"], "NaN"),
        (CLOSED, ["data", "total"], "1\n"),
        (CLOSED, ["data", "lines"], []),
        (CLOSED, ["data", "lines", 0, "requests"], 2**63),
        (CLOSED, ["data", "month"], "2026-13"),
        (CLOSED, ["data", "currency"], "EUR"),
        (CLOSED, ["data", "revisions"], {ANOTHER: {"2026-01-31 23": 1}}),
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, Total) else type(value).__name__,
)
def test_what_no_reader_could_keep_is_no_total(total: Total, path: list[Any], value: Any) -> None:
    assert _reason(_bytes(total, path, value)).startswith(f"{total.type}.{'.'.join(map(str, path))}")


@pytest.mark.parametrize(
    ("total", "path"),
    [
        (HOURLY, ["subject"]),
        (HOURLY, ["data", "key_id"]),
        (CLOSED, ["subject"]),
        (CLOSED, ["data", "lineage_id"]),
    ],
)
def test_a_total_that_names_two_for_one_is_no_total(total: Total, path: list[str]) -> None:
    assert _reason(_bytes(total, path, ANOTHER)) == f"{total.type}: value_error"


@pytest.mark.parametrize(
    ("total", "path", "value"),
    [
        (HOURLY, ["data", "hour"], "2026-01-31T22:00:00Z"),
        (HOURLY, ["partitionkey"], "elsewhere"),
        (CLOSED, ["data", "month"], "2026-02"),
        (CLOSED, ["partitionkey"], "elsewhere"),
    ],
)
def test_a_record_key_that_is_another_rows_is_no_total(total: Total, path: list[str], value: str) -> None:
    """The topic is compacted by it: one row would replace another."""
    assert _reason(_bytes(total, path, value)) == f"{total.type}: value_error"


@pytest.mark.parametrize("name", ["specversion", "id", "source", "time", "type"])
@pytest.mark.parametrize("total", [HOURLY, CLOSED], ids=["HourlyUsage", "StatementClosed"])
def test_a_total_that_does_not_say_what_and_when_is_no_total(total: Total, name: str) -> None:
    written = json.loads(encode(total))
    del written[name]
    assert _reason(json.dumps(written).encode()).endswith(("missing", "union_tag_not_found"))


@pytest.mark.parametrize(
    ("read", "value"),
    [(decode_total, encode(some_usage())), (decode, encode(HOURLY))],
    ids=["event", "total"],
)
def test_an_event_is_no_total_and_a_total_no_event(read: Callable[[bytes], Any], value: bytes) -> None:
    with pytest.raises(UnreadableRecord, match=r"^unknown type$"):
        read(value)


def test_nothing_is_no_total() -> None:
    assert _reason(None) == "no value"


@given(st.sampled_from(TOTALS), JSON, st.data())
def test_a_total_with_anything_anywhere_is_answered(total: Total, value: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(_places(json.loads(encode(total))))))
    with contextlib.suppress(UnreadableRecord):
        decode_total(_bytes(total, list(path), value))


def test_an_hour_is_named_by_its_beginning() -> None:
    assert hour_text(HOUR) == "2026-01-31T23"
    assert hour_text(datetime(2026, 3, 1, 4, tzinfo=UTC)) == "2026-03-01T04"
    # Whatever zone a session with Postgres has said it in.
    assert (
        hour_text(datetime(2026, 3, 1, 4, tzinfo=timezone(timedelta(hours=5, minutes=30)))) == "2026-02-28T22"
    )


def _bytes(total: Total, path: list[Any], value: Any) -> bytes:
    return json.dumps(_changed(json.loads(encode(total)), path, value)).encode()


def _changed(fields: Any, path: list[Any], value: Any) -> Any:
    changed = copy.deepcopy(fields)
    part = changed
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return changed


def _reason(value: bytes | None) -> str:
    with pytest.raises(UnreadableRecord) as caught:
        decode_total(value)
    return str(caught.value)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield (*path, name)
        yield from _places(part, (*path, name))
