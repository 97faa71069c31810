"""What can go wrong with the log and its records.

EventsError
├── UnreadableRecord      a record that no version of the codec understands
├── LogUnavailable        no answer from the log in time; what was sent may still arrive
│   └── RecordRefused     the log takes no such record, however often it is sent
├── UsageNotDelivered     an emitter was closed before the log had acknowledged everything
├── WrongLog              this is not, or no longer, the log that the projections were built from
│   └── LogLost           records that were read are lost; refused until an operator decides
├── WrongSchema           the rows in Postgres are kept by another version of this service
├── MissingRight          the account or role may not read what it was asked to compare
├── TopicMismatch         a topic's configuration differs from the agreement
└── SettingsError         the environment lacks or misspells settings; all of them are named
"""

from __future__ import annotations

from collections.abc import Sequence


class EventsError(Exception):
    """Base of every error of this package."""


class UnreadableRecord(EventsError):
    """A record that cannot be understood. The message says why and never quotes the value."""


class LogUnavailable(EventsError):
    """The log did not answer in time. What was being appended may still take effect."""


class RecordRefused(LogUnavailable):
    """The log answered that it takes no such record, for its size or its form: it has no effect."""


class UsageNotDelivered(EventsError):
    """An emitter was closed while the log was away; `count` events were taken and not acknowledged.

    Some of them may still take effect.
    """

    def __init__(self, count: int, seconds: float) -> None:
        super().__init__(f"{count} usage events were not acknowledged within {seconds:g} s of closing")
        self.count = count


class WrongLog(EventsError):
    """This is not the log that the read models were built from, or it has forgotten something.

    The message ends with how to repair it.
    """


class LogLost(WrongLog):
    """The log has lost records that were read from it. That is noted, and stays so when the log has grown."""


class WrongSchema(EventsError):
    """The schema in Postgres is another version's than this process was written for."""


class MissingRight(EventsError):
    """An account or a role lacks a right, so what was asked cannot be told. The message names the right."""


class TopicMismatch(EventsError):
    """Topics differ from the agreement; `differences` has one sentence for each."""

    def __init__(self, differences: Sequence[str]) -> None:
        super().__init__("; ".join(differences))
        self.differences = tuple(differences)


class SettingsError(EventsError):
    """Settings are missing or wrong; `problems` has one sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
