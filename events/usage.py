"""KeyUsed: a key served a request."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from events.envelope import NO_NUL, Envelope, Fact, KeyId, Text
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


class KeyUsed(Envelope):
    """An event of `keys.usage`: `partitionkey` is the key_id. Its identity is (`key_id`, `id`)."""

    type: Literal["hokusai.auth.KeyUsed.v1"] = "hokusai.auth.KeyUsed.v1"
    data: Usage

    @model_validator(mode="after")
    def _names_one_key(self) -> Self:
        if not self.subject == self.partitionkey == self.data.key_id:
            raise ValueError("subject, partitionkey and key_id of a use must be equal")
        return self
