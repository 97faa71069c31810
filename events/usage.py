"""KeyUsed: a key served a request."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from events.envelope import NO_NUL, Count, Envelope, Fact, KeyId, Text


class Usage(Fact):
    """One request that a service served for a key. Times in milliseconds."""

    key_id: KeyId
    service_id: Text
    endpoint: Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=NO_NUL)]
    status_code: Annotated[int, Field(ge=0, le=999)]
    response_time_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    predictions_count: Count = 0
    compute_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0


class KeyUsed(Envelope):
    """An event of `keys.usage`: `partitionkey` is the key_id. Its identity is (`key_id`, `id`)."""

    type: Literal["hokusai.auth.KeyUsed.v1"] = "hokusai.auth.KeyUsed.v1"
    data: Usage

    @model_validator(mode="after")
    def _names_one_key(self) -> Self:
        if not self.subject == self.partitionkey == self.data.key_id:
            raise ValueError("subject, partitionkey and key_id of a use must be equal")
        return self
