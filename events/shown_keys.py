"""What a key looks like, and what may be shown of it: the secret stands in nothing that is kept."""

from __future__ import annotations

import re

MARKS = {"production": "live", "test": "test", "development": "dev"}
SECRET_LENGTH = 32
SHOWN_LENGTH = 3

SHAPE = re.compile(rf"hk_(?:{'|'.join(MARKS.values())})_[A-Za-z0-9]{{{SECRET_LENGTH}}}")


def display_prefix(key: str) -> str:
    """What may be shown of a well-formed key, such as `hk_live_AbC***`."""
    return f"{key[: len(key) - SECRET_LENGTH + SHOWN_LENGTH]}***"


def hide_keys(text: str) -> str:
    """The text, with only what may be shown of whatever could be a key in it."""
    if "hk_" not in text:  # nearly always; the pattern costs three times as much
        return text
    return SHAPE.sub(lambda found: display_prefix(found[0]), text)
