"""Read your own write: what a node has answered holds for every later request to that node."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.client import ApiClient
from tests.acceptance.stack import ApiNode

ROUNDS = 100


@pytest.fixture(params=["node", "node_of_four"])
def any_node(request: pytest.FixtureRequest) -> ApiNode:
    """A node of one worker, then one of four."""
    node: ApiNode = request.getfixturevalue(request.param)
    return node


def test_no_answer_is_ever_stale(any_node: ApiNode) -> None:
    """200 lives of a key, half of them on each node: created, rotated, rotated with grace, revoked."""
    with ThreadPoolExecutor(any_node.workers) as pool:
        lives = Lives(any_node.client, pool, probes=any_node.workers)
        for number in range(ROUNDS):
            lives.one()
            if number % 20 == 0:
                lives.listed_in_full()


class Lives:
    """One client that trusts every answer it got; each question is asked on several connections at once."""

    def __init__(self, client: ApiClient, pool: ThreadPoolExecutor, probes: int) -> None:
        self._client = client
        self._pool = pool
        self._probes = probes

    def one(self) -> None:
        client = self._client
        first = client.new_key()
        self._expect({first.api_key: True})
        assert first.key_id in {key["key_id"] for key in client.list(active_only="true").json()}
        assert client.look_up(first.key_id).json()["is_active"]

        second = client.rotated(first.key_id)
        assert second.key_id != first.key_id
        self._expect({first.api_key: False, second.api_key: True})

        third = client.rotated(second.key_id, grace_period_hours=1)
        self._expect({first.api_key: False, second.api_key: True, third.api_key: True})

        assert client.revoke(third.key_id).status_code == 200
        self._expect({first.api_key: False, second.api_key: False, third.api_key: False})
        assert not client.look_up(third.key_id).json()["is_active"]
        assert third.key_id not in {key["key_id"] for key in client.list(active_only="true").json()}

    def listed_in_full(self) -> None:
        """The list of all keys, as the command line asks for it; it gets long."""
        key = self._client.new_key()
        assert key.key_id in {listed["key_id"] for listed in self._client.list().json()}
        self._client.revoke(key.key_id)

    def _expect(self, wanted: dict[str, bool]) -> None:
        questions = [key for key in wanted for _ in range(self._probes)]
        answers: Iterable[bool] = self._pool.map(self._client.accepts, questions)
        assert [wanted[key] for key in questions] == list(answers)
