"""What the documents name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED_TEST = re.compile(r"`([a-z_0-9/]+\.py)::(test_\w+)`")


def named_tests(document: str) -> list[tuple[str, str]]:
    return NAMED_TEST.findall((ROOT / "docs" / document).read_text("utf-8"))


def functions_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@pytest.mark.parametrize(("document", "at_least"), [("security.md", 20), ("operations.md", 3)])
def test_every_test_that_a_document_names_exists(document: str, at_least: int) -> None:
    named = named_tests(document)
    assert len(named) >= at_least
    missing = [
        f"{path}::{test}"
        for path, test in named
        if not (ROOT / "tests" / path).exists() or test not in functions_in(ROOT / "tests" / path)
    ]
    assert not missing


def test_every_line_of_the_security_notes_names_a_test() -> None:
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if re.match(r"\d+\. ", line)]
    assert [int(line.split(".")[0]) for line in lines] == list(range(1, 29))
    assert all(NAMED_TEST.search(line) for line in lines)
