"""Which leader each partition of a topic had when it was last asked."""

from __future__ import annotations

from collections.abc import Mapping


class Leaders:
    """Epochs of leaders by partition, to tell when a partition has got another one."""

    def __init__(self) -> None:
        self._epochs: dict[int, int] = {}

    def have_changed(self, epochs: Mapping[int, int]) -> bool:
        """Whether a partition has another leader than at an earlier call; none has at the first."""
        known = dict(self._epochs)
        self._epochs.update(epochs)
        return any(known.get(partition, epoch) != epoch for partition, epoch in epochs.items())
