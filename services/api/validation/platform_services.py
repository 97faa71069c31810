"""The services that a key may be for, and the old names that mean one of them."""

from __future__ import annotations

SERVICE_IDS = ("prediction", "platform", "website", "ml-platform")

#: Folded into `platform` long ago; keys under the old names keep working.
_FOLDED = {"website": "platform", "ml-platform": "platform"}


def canonical_service(service_id: str) -> str:
    """The name that services are matched by."""
    return _FOLDED.get(service_id, service_id)


def same_service(service_id: str) -> list[str]:
    """Every name that means the same service."""
    wanted = canonical_service(service_id)
    return [name for name in SERVICE_IDS if canonical_service(name) == wanted]
