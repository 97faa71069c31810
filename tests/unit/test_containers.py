"""No Docker engine runs these tests: what can be known of the containers without one is known here."""

from __future__ import annotations

import os
import re
import subprocess
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
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    assert set(example.values()) == {""}
    text = (ROOT / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{(\w+):[?-]", text))
    assert asked == set(example)
    optional = set(re.findall(r"\$\{(\w+):-\}", text))
    assert optional == {
        "USAGE_TOKEN",
        "TRUSTED_PROXIES",
        "KAFKA_AUDITOR_PASSWORD",
        "KAFKA_OPERATOR_PASSWORD",
        "KAFKA_EMITTER_PASSWORD",
        "POSTGRES_AUDITOR_PASSWORD",
    }


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_no_container_can_gain_rights(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "kafka")


@pytest.mark.parametrize("name", [*SERVICES, "topics"])
def test_each_service_is_a_user_of_its_own_everywhere(name: str) -> None:
    service = COMPOSE["services"][name]
    environment = service["environment"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert environment["KAFKA_SASL_USERNAME"] == name
    assert environment["KAFKA_SASL_PASSWORD"].startswith(f"${{KAFKA_{name.upper()}_PASSWORD:?")
    if name != "topics":
        assert environment["DATABASE_URL"].startswith(
            f"postgresql://hokusai_{name}:${{POSTGRES_{name.upper()}_PASSWORD:?"
        )


def test_the_image_runs_as_a_number_and_installs_nothing_without_a_hash() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    for install in re.findall(r"pip install .*", text):
        assert "--require-hashes" in install or "--no-index --no-deps" in install, install


@pytest.mark.parametrize("script", ["kafka/rights.sh", "postgres/passwords.sh"])
def test_scripts_are_bash(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / "deploy" / script], check=True)
    assert os.access(ROOT / "deploy" / script, os.X_OK)


def test_every_file_that_compose_mounts_is_there() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume


def test_the_image_has_every_file_that_it_copies() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    copied = [
        source.removeprefix("./")
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignore, source
