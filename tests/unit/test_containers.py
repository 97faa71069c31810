"""No Docker engine runs these tests: what can be known of the containers without one is known here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from services.api.settings import ApiSettings
from services.billing.settings import BillingSettings
from services.projector.settings import ProjectorSettings, WindowsSettings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


SERVICES = {
    "api": ApiSettings,
    "projector": ProjectorSettings,
    "windows": WindowsSettings,
    "billing": BillingSettings,
}


@pytest.mark.parametrize(("service", "settings"), SERVICES.items())
def test_a_service_is_given_settings_that_it_knows_and_all_that_it_needs(service: str, settings: Any) -> None:
    given = set(COMPOSE["services"][service]["environment"])
    fields = settings.model_fields.values()
    assert given <= {field.alias for field in fields}
    assert given >= {field.alias for field in fields if field.is_required()}


def test_what_closes_the_usage_routes_reaches_the_api() -> None:
    assert COMPOSE["services"]["api"]["environment"]["USAGE_TOKEN"] == "${USAGE_TOKEN:-}"


def test_every_service_has_a_health_check_and_waits_for_what_it_needs() -> None:
    for name in ("kafka", "postgres", *SERVICES):
        assert "healthcheck" in COMPOSE["services"][name], name
    for name in SERVICES:
        assert COMPOSE["services"][name]["depends_on"] == {
            "topics": {"condition": "service_completed_successfully"},
            "postgres": {"condition": "service_healthy"},
        }


def test_what_compose_asks_for_stands_in_the_example_and_has_no_value_there() -> None:
    example = dict(
        line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line[:30]
    )
    assert example == {"ADMIN_TOKEN": "", "KEY_PEPPERS": "", "POSTGRES_PASSWORD": "", "USAGE_TOKEN": ""}
    text = (ROOT / "docker-compose.yml").read_text()
    for name in example:
        assert f"${{{name}:{'-' if name == 'USAGE_TOKEN' else '?'}" in text


def test_the_image_has_every_file_that_it_copies() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    copied = [
        source.removeprefix("./")
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignore, source
