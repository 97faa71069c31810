"""What the api can't do, in words that callers may see. No message carries a secret.

ApiError
├── Unauthenticated         no token, or a wrong one
├── KeyNotFound             no key has this id
├── WriteConflict           the log decided for somebody else, or the key cannot change any more
├── OutcomeUnknown          appended perhaps, but not confirmed in time
├── UsageUnconfirmed        the same for a use that was reported
├── UsageConflict           another use of the key was reported under the same idempotency key
├── ReadModelUnavailable    Postgres does not answer, or lags too far behind the log
├── StoreUnavailable        the node's store of keys can't be opened or written: no room, or not there
├── HasherBusy              no room for another bcrypt now
└── CallerGone              nobody waits for the answer any more
"""

from __future__ import annotations


class ApiError(Exception):
    """Base of this service's errors."""


class Unauthenticated(ApiError):
    """The token is missing or wrong; the message says which."""


class KeyNotFound(ApiError):
    """API key not found"""

    def __init__(self) -> None:
        super().__init__("API key not found")


class WriteConflict(ApiError):
    """The log has decided otherwise; the message says what stands in the way."""


class OutcomeUnknown(ApiError):
    """The change was not confirmed in time; it may still take effect, for the key with this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__("The change was not confirmed in time and may still take effect")
        self.key_id = key_id


class UsageUnconfirmed(ApiError):
    """The use was not confirmed in time; it may still be recorded, as the event with this id."""

    def __init__(self, event_id: str) -> None:
        super().__init__("The usage was not confirmed in time and may still be recorded")
        self.event_id = event_id


class UsageConflict(ApiError):
    """Another use of the key was reported under the same idempotency key; this one is not recorded."""

    def __init__(self) -> None:
        super().__init__(
            "This idempotency key was used to report another use of this key: report what was reported "
            "before, or use another idempotency key"
        )


class ReadModelUnavailable(ApiError):
    """The read model cannot answer now; the message says why."""


class HasherBusy(ApiError):
    """Too many keys are waiting to be hashed or checked; in so many seconds there may be room."""

    def __init__(self, message: str, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class CallerGone(ApiError):
    """The caller has hung up, so that its change was not begun."""

    def __init__(self) -> None:
        super().__init__("The caller has hung up")


class StoreUnavailable(ApiError):
    """The node's store of keys; the message says where it is and what the system says."""
