"""Two nodes change one key at once: the log decides for one of them, on every reader, for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx

from events.keys import KeyEvent, KeyRevoked
from events.lineage import Applied
from tests.acceptance.client import ApiClient, Created, issued
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import ApiNode, Stack
from tests.acceptance.the_log import folded, postgres_agrees

ROUNDS = 50
CONVERGENCE_SECONDS = 5.0


def test_one_of_two_rotations_wins(shared_stack: Stack, node: ApiNode, other_node: ApiNode) -> None:
    here, there = node.client, other_node.client
    keys: dict[str, str] = {}
    for _ in range(ROUNDS):
        old = a_key_known_to_both(here, there)
        answers = at_once(partial(here.rotate, old.key_id), partial(there.rotate, old.key_id))
        winner, loser = sorted(answers, key=lambda answer: answer.status_code)
        assert loser.status_code == 409, loser.text
        new = issued(winner, 200)
        keys |= {old.key_id: old.api_key, new.key_id: new.api_key}
    assert losers(shared_stack, keys), "no round was a race"
    everybody_agrees(shared_stack, [here, there], keys)


def test_a_rotation_or_a_revocation_wins(shared_stack: Stack, node: ApiNode, other_node: ApiNode) -> None:
    """A revocation that comes when its key is already replaced answers 200 and appends nothing."""
    here, there = node.client, other_node.client
    keys: dict[str, str] = {}
    refused_revocations = set()
    for _ in range(ROUNDS):
        old = a_key_known_to_both(here, there)
        rotation, revocation = at_once(partial(here.rotate, old.key_id), partial(there.revoke, old.key_id))
        keys[old.key_id] = old.api_key
        if revocation.status_code == 409:
            refused_revocations.add(old.key_id)
        else:
            assert revocation.status_code == 200, revocation.text
        if rotation.status_code == 200:
            new = issued(rotation, 200)
            keys[new.key_id] = new.api_key
        else:
            assert (rotation.status_code, revocation.status_code) == (409, 200), rotation.text
    lost = losers(shared_stack, keys)
    assert lost, "no round was a race"
    assert refused_revocations == {event.subject for event in lost if isinstance(event, KeyRevoked)}
    everybody_agrees(shared_stack, [here, there], keys)


def a_key_known_to_both(here: ApiClient, there: ApiClient) -> Created:
    key = here.new_key()
    eventually(lambda: there.accepts(key.api_key), CONVERGENCE_SECONDS, "the other node to know the key")
    return key


def at_once(*calls: Callable[[], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def losers(stack: Stack, keys: dict[str, str]) -> list[KeyEvent]:
    """The second events of these lineages that lost against another; each lineage has one that won."""
    won, lost = Counter[str](), []
    for outcome in folded(stack)[1]:
        event = outcome.event
        if event is None or event.sequence != 2 or event.partitionkey not in keys:
            continue
        if isinstance(outcome.outcome, Applied):
            won[event.partitionkey] += 1
        else:
            lost.append(event)
    assert set(won.values()) == {1}
    assert len(won) == ROUNDS
    return lost


def everybody_agrees(stack: Stack, clients: list[ApiClient], keys: dict[str, str]) -> None:
    """The memory of each node, Postgres and a fold of the topic say the same of every key."""
    lineages, _ = folded(stack)
    alive = {
        key.key_id: key.revoked_at is None and key.superseded_by is None
        for lineage in lineages.values()
        for key in lineage.keys
    }
    expected = {key_id: alive[key_id] for key_id in keys}

    def all_say_so() -> bool:
        said = [{key_id: client.accepts(key) for key_id, key in keys.items()} for client in clients]
        return said == [expected] * len(clients)

    eventually(all_say_so, CONVERGENCE_SECONDS, "both nodes to answer what the log says")
    postgres_agrees(stack)
    listed = {key["key_id"]: key["is_active"] for key in clients[0].list().json()}
    assert {key_id: listed[key_id] for key_id in keys} == expected
