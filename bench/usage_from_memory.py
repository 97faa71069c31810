"""The very SQL of the usage roll-ups, fed from memory: what Postgres alone could take."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiokafka.partitioner import DefaultPartitioner  # type: ignore[import-untyped]

from bench.progress import Progress
from bench.sample_keys import Record
from bench.servers import Place
from events.claims import advance, claim_partition
from events.keeper.database import connect
