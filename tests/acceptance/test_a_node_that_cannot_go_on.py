"""A node that meets another log than it followed ends, and tells whoever started it that it failed."""

from __future__ import annotations

from events.errors import TopicMismatch
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import START_TIMEOUT_SECONDS, Stack
from tests.acceptance.the_log import create_topics, delete_topics

FAILED = 1


def test_it_ends_with_a_failure_so_that_it_is_started_again(stack: Stack) -> None:
    node = stack.api()
    node.client.new_key()

    delete_topics(stack)
    eventually(lambda: made_anew(stack), START_TIMEOUT_SECONDS, "the topics to be made anew")

    assert node.wait_exit() == FAILED, node.log_of_this_run()
    assert "this node can't go on" in node.log_of_this_run()


def made_anew(stack: Stack) -> bool:
    try:
        create_topics(stack)
    except TopicMismatch:
        return False
    return True
