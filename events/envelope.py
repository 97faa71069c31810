"""The CloudEvents 1.0 envelope that every event of the platform travels in (structured JSON)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import uuid_utils
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

UtcTime = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]
KeyId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Fact(BaseModel):
    """What an event states. Frozen; unknown fields are refused when writing, ignored when reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Envelope(Fact):
    """CloudEvents context attributes. `type`, `data` and the meaning of `subject` come with each event.

    `partitionkey` is the record key. `actor` is who caused the event, `correlationid` the request that did.
    """

    specversion: Literal["1.0"] = "1.0"
    id: Text = Field(default_factory=lambda: str(uuid_utils.uuid7()))
    source: Text
    subject: KeyId
    time: UtcTime = Field(default_factory=lambda: datetime.now(UTC))
    datacontenttype: Literal["application/json"] = "application/json"
    partitionkey: KeyId
    actor: Text
    correlationid: Text | None = None
