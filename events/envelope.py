"""The CloudEvents 1.0 envelope that every event of the platform travels in (structured JSON)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

import uuid_utils
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:  # a zone that moves it out of the years 1 to 9999
        raise ValueError("time out of range") from None


#: Every store can hold what an event states: Postgres keeps no NUL in a text, and numbers of 64 bits.
NO_NUL = r"^[^\x00]*$"
LARGEST_INT = 2**53 - 1

UtcTime = Annotated[AwareDatetime, AfterValidator(_in_utc)]
KeyId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=NO_NUL)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INT)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_INT)]


class Fact(BaseModel):
    """What an event states. Frozen; unknown fields are refused when writing, ignored when reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: What a writer may leave to its defaults and a record must state, because the default is another one at
    #: each reading.
    stated: ClassVar[frozenset[str]] = frozenset()


class CloudEvent(Fact):
    """The attributes that every event has. `type`, `subject`, `partitionkey` and `data` come with each.

    `partitionkey` is the record key, where the event states it.
    """

    stated: ClassVar[frozenset[str]] = frozenset({"specversion", "id", "time"})

    specversion: Literal["1.0"] = "1.0"
    id: Text = Field(default_factory=lambda: str(uuid_utils.uuid7()))
    source: Text
    time: UtcTime = Field(default_factory=lambda: datetime.now(UTC))
    datacontenttype: Literal["application/json"] = "application/json"


class Envelope(CloudEvent):
    """What happened to a key. `actor` is who caused it, `correlationid` the request that did."""

    subject: KeyId
    partitionkey: KeyId
    actor: Text
    correlationid: Text | None = None
