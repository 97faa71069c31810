"""What the rate tables can't do."""

from __future__ import annotations


class NoRoomForCounts(OSError):
    """A rate table could not be made or could not grow; the message names the folder and the reason."""
