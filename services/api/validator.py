"""May this key pass? Present, known, active, unexpired, right service, scope, address, within its limit.

Asked in that order.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_facts import KeyFacts
from services.api.limits.rate_limits import RateLimits
from services.api.validation.addresses import is_allowed
from services.api.validation.bcrypt_fallback import BcryptFallback
from services.api.validation.key_material import Fingerprints
from services.api.validation.platform_services import canonical_service
from services.api.verdict import Verdict


# Not frozen: that would quadruple what it takes to make one for every request.
@dataclass(slots=True)
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
        bcrypt_fallback: BcryptFallback,
        limits: RateLimits,
    ) -> None:
        self._find_by_fingerprint = directory.find
        self._fingerprints = fingerprints
        self._limits = limits
        #: Where `find` finds nothing; see `BcryptFallback.find`.
        self.find_by_bcrypt = bcrypt_fallback.find

    def find(self, presented: bytes) -> KeyFacts | None:
        """The key with this secret, by its fingerprint."""
        known = self._find_by_fingerprint(self._fingerprints.newest(presented))
        if known is None:
            for fingerprint in self._fingerprints.older(presented):
                if (known := self._find_by_fingerprint(fingerprint)) is not None:
                    break
        return known

    def judge_key(self, known: KeyFacts, now_seconds: float) -> Verdict:
        """Whether the key lives, whatever it is wanted for."""
        if now_seconds >= known.active_until:
            return Verdict.INACTIVE
        if now_seconds >= known.expires_at:
            return Verdict.EXPIRED
        return Verdict.VALID

    def judge_question(self, known: KeyFacts, question: Question, now_seconds: float) -> Verdict:
        """Whether a key that lives may do what is asked; `VALID` is counted as one request of its hour."""
        service_id, scope = question.service_id, question.required_scope
        if (
            service_id is not None
            and service_id != known.service_id
            and canonical_service(service_id) != canonical_service(known.service_id)
        ):
            return Verdict.WRONG_SERVICE
        if scope is not None and known.scopes and scope not in known.scopes:
            return Verdict.MISSING_SCOPE
        if known.allowed_ips and not is_allowed(question.client_ip, known.allowed_ips):
            return Verdict.OUTSIDE_ALLOWLIST
        return Verdict.VALID if self._limits.admit(known, now_seconds) else Verdict.RATE_LIMITED
