"""KeyUsed: a key served a request."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from events.envelope import NO_NUL, CloudEvent, Fact, KeyId, Text
from events.shown_keys import hide_keys

#: More of it in one request is no use but a mistake: a day, and a billion predictions.
LONGEST_MS = 86_400_000
MOST_PREDICTIONS = 1_000_000_000

#: Callers put keys into query strings, and the log keeps use for ever.
Endpoint = Annotated[
    str, StringConstraints(min_length=1, max_length=512, pattern=NO_NUL), AfterValidator(hide_keys)
]
ServiceId = Annotated[Text, AfterValidator(hide_keys)]
Milliseconds = Annotated[float, Field(ge=0, le=LONGEST_MS, allow_inf_nan=False)]

JSON = "application/json"
#: Every media type of JSON, with or without parameters: `text/json`, `application/json; charset=utf-8`.
JSON_TYPE = r"^[^/;\s]+/([^/;\s]+\+)?[jJ][sS][oO][nN]\s*(;.*)?$"


class Usage(Fact):
    """One request that a service served for a key. Times in milliseconds.

    A key in the endpoint or the service, put there by mistake, is cut to what may be shown of it.
    """

    key_id: KeyId
    service_id: ServiceId
    endpoint: Endpoint
    status_code: Annotated[int, Field(ge=0, le=999)]
    response_time_ms: Milliseconds
    predictions_count: Annotated[int, Field(ge=0, le=MOST_PREDICTIONS)] = 0
    compute_ms: Milliseconds = 0


class KeyUsed(CloudEvent):
    """An event of `keys.usage`. Its identity is (`key_id`, `id`).

    `subject` and `partitionkey` are the key_id where they are stated. A use without a `time` happened when
    it was appended. Services of others emit it, so nothing is required that is not needed to count.
    """

    stated: ClassVar[frozenset[str]] = CloudEvent.stated - {"time"}

    #: `usage_records` reads every JSON_TYPE as this one.
    datacontenttype: Annotated[
        Literal["application/json"], WithJsonSchema({"type": "string", "pattern": JSON_TYPE, "default": JSON})
    ] = "application/json"
    type: Literal["hokusai.auth.KeyUsed.v1"] = "hokusai.auth.KeyUsed.v1"
    subject: KeyId | None = None
    partitionkey: KeyId | None = None
    actor: Text | None = None
    correlationid: Text | None = None
    data: Usage

    @model_validator(mode="after")
    def _names_one_key(self) -> Self:
        either = (self.data.key_id, None)
        if self.subject not in either or self.partitionkey not in either:
            raise ValueError("subject and partitionkey of a use must be its key_id")
        return self
