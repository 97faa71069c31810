"""May this key pass? Present, known, active, unexpired, right service, scope, address, within its limit.

Asked in that order.
"""

from __future__ import annotations

from dataclasses import dataclass

from events.clock import Clock
from services.api.addresses import is_allowed
from services.api.directory import KeyDirectory, KnownKey
from services.api.key_material import Fingerprints
from services.api.platform_services import canonical_service
from services.api.rate_windows import RateWindows
from services.api.recognition import Recognition
from services.api.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller wants to know beyond the key itself. `None`: it does not ask."""

    service_id: str | None = None
    required_scope: str | None = None
    client_ip: str = ""


class KeyValidator:
    """Answers from memory. Facts are cached, verdicts never: everything is judged on every request."""

    def __init__(
        self,
        directory: KeyDirectory,
        fingerprints: Fingerprints,
        recognition: Recognition,
        clock: Clock,
        windows: RateWindows,
    ) -> None:
        self._find_by_fingerprint = directory.find
        self._fingerprints = fingerprints
        self._now = clock.seconds
        self._windows = windows
        #: Where `find` finds nothing; see `Recognition.recognise`.
        self.recognise = recognition.recognise

    def find(self, presented: bytes) -> KnownKey | None:
        """The key with this secret, by its fingerprint."""
        for fingerprint in self._fingerprints.each(presented):
            if (known := self._find_by_fingerprint(fingerprint)) is not None:
                return known
        return None

    def judge_key(self, known: KnownKey) -> Verdict:
        """Whether the key lives, whatever it is wanted for."""
        now = self._now()
        if now >= known.active_until:
            return Verdict.INACTIVE
        if now >= known.expires_at:
            return Verdict.EXPIRED
        return Verdict.VALID

    def judge(self, known: KnownKey, question: Question) -> Verdict:
        """Whether the key lives and may do what is asked; `VALID` is counted as one request of its hour."""
        verdict = self.judge_key(known)
        if verdict is not Verdict.VALID:
            return verdict
        settings = known.key.settings
        if question.service_id is not None and canonical_service(question.service_id) != canonical_service(
            settings.service_id
        ):
            return Verdict.WRONG_SERVICE
        if (
            question.required_scope is not None
            and settings.scopes
            and question.required_scope not in settings.scopes
        ):
            return Verdict.MISSING_SCOPE
        if settings.allowed_ips and not is_allowed(question.client_ip, known.networks):
            return Verdict.OUTSIDE_ALLOWLIST
        return Verdict.VALID if self._windows.admit(known.key, self._now()) else Verdict.RATE_LIMITED
