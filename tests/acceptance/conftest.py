"""Stacks to test: one that the tests of a file share that break nothing, and fresh ones for the others.

An idle stack still polls: one for all files would cost more than one for each that needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.fresh_stack import fresh_stack
from tests.acceptance.stack import ApiNode, Stack


@pytest.fixture(scope="module")
def shared_stack(
    kafka: EmbeddedKafka, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Runs a projector. For tests that leave every process as it was."""
    with fresh_stack(kafka, postgres, tmp_path_factory.mktemp("shared-stack")) as stack:
        stack.projector()
        yield stack


@pytest.fixture(scope="module")
def node(shared_stack: Stack) -> ApiNode:
    """A node of one worker on the shared stack."""
    return shared_stack.api()


@pytest.fixture(scope="module")
def other_node(shared_stack: Stack) -> ApiNode:
    """A second node of one worker on the shared stack."""
    return shared_stack.api()


@pytest.fixture(scope="module")
def node_of_four(shared_stack: Stack) -> ApiNode:
    """A node of four workers on the shared stack."""
    return shared_stack.api(workers=4)


@pytest.fixture
def stack(kafka: EmbeddedKafka, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Stack]:
    """Topics and a database that nobody has used; runs nothing yet."""
    with fresh_stack(kafka, postgres, tmp_path) as stack:
        yield stack


@pytest.fixture
def fragile(shaken_kafka: EmbeddedKafka, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Stack]:
    """A stack on a broker that the test may stop; it runs again afterwards."""
    with fresh_stack(shaken_kafka, postgres, tmp_path) as stack:
        yield stack
        stack.kill()
        shaken_kafka.start()
        shaken_kafka.wait_ready()
