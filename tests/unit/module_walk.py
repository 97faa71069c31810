"""What a module imports, reads and does when it is imported, from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator

ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}


def imports(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Every import: its line, what it imports, and whether that is `events` itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name, name.name == "events"
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for name in node.names:
                yield node.lineno, f"{node.module}.{name.name}", node.module == "events"


def environment_reads(tree: ast.Module) -> Iterator[int]:
    """The lines that read the environment of the process, or import what does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and _name(node.value) == "os":
            yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (node.lineno for name in node.names if name.name in ENVIRONMENT)


def calls_at_import(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and bare name of whatever is called before anybody calls a function of the module."""
    for node in _run_at_import(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, _name(node.func)


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Everything but the bodies of functions; the body of `if __name__ == "__main__"` is a function's too."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        inner: list[ast.AST] = [*node.decorator_list, node.args]
    elif isinstance(node, ast.Lambda):
        inner = [node.args]
    elif isinstance(node, ast.If) and "__name__" in {_name(part) for part in ast.walk(node.test)}:
        inner = []
    else:
        inner = list(ast.iter_child_nodes(node))
    for part in inner:
        yield from _run_at_import(part)


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
