"""Peppers that key fingerprints: their ids, never their secrets."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from events.envelope import CloudEvent, Fact, Text


class ConfiguredPepper(Fact):
    """A pepper, by the id that keys name it with: `2026a.3fa9c1d2`."""

    pepper_id: Text


class PepperConfigured(CloudEvent):
    """A record of `keys.peppers`: a node of the api was started with this pepper.

    Keys under a pepper that no node was ever started with are refused. Of each record key the newest record
    counts; one without a value withdraws the pepper.
    """

    type: Literal["hokusai.auth.PepperConfigured.v1"] = "hokusai.auth.PepperConfigured.v1"
    subject: Annotated[Text, Field(description="pepper_id")]
    partitionkey: Annotated[Text, Field(description="pepper_id: what the topic is compacted by")]
    data: ConfiguredPepper

    @model_validator(mode="after")
    def _names_one_pepper(self) -> Self:
        if not self.subject == self.partitionkey == self.data.pepper_id:
            raise ValueError("subject, partitionkey and pepper_id of a configured pepper must be equal")
        return self
