"""What is handed on names nothing of the machine it was made on, and installs the same everywhere."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

# In pieces, so that this file does not name them either.
REGISTRIES = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("maven", "org"),
    ("maven", "apache.org"),
    ("crates", "io"),
    ("proxy.golang", "org"),
]
FOLDERS_OF_A_MACHINE = ["work", "root", "Users"]

FOREIGN = re.compile(
    "|".join(
        [
            *(re.escape(".".join(host)) for host in REGISTRIES),
            *(rf"(?<![\w.:/-])/{folder}/" for folder in FOLDERS_OF_A_MACHINE),
        ]
    )
)


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
    found = [
        f"{name}:{number}: {match.group()}"
        for name in _files()
        for number, line in enumerate((ROOT / name).read_text("utf-8", errors="replace").splitlines(), 1)
        if (match := FOREIGN.search(line))
    ]
    assert not found, "\n".join(["", *found])


def test_the_scan_finds_what_it_is_for() -> None:
    host, folder = ".".join(REGISTRIES[0]), FOLDERS_OF_A_MACHINE[0]
    for line in (f"--index-url https://{host}/simple", f'cd "/{folder}/main"', f"/{folder}/main/.venv"):
        assert FOREIGN.search(line), line
    for line in (f"services/{folder}/x", f"https://example.com/{folder}/", f"net{folder}/"):
        assert not FOREIGN.search(line), line


def test_every_direct_dependency_has_one_version() -> None:
    loose = [requirement for requirement in _direct() if not re.search(r"==\d[\w.]*$", requirement)]
    assert not loose


def test_every_direct_dependency_is_in_the_lock_in_the_same_version() -> None:
    locked = _locked()
    wanted = {_normal(re.split(r"[\[=<>!~ ]", one)[0]): one.rpartition("==")[2] for one in _direct()}
    assert {name: locked.get(name, ("not locked", 0))[0] for name in wanted} == wanted


def test_every_locked_requirement_has_its_hashes() -> None:
    locked = _locked()
    assert len(locked) > len(_direct())
    assert not [name for name, (_, hashes) in locked.items() if hashes == 0]


def _files() -> list[str]:
    """Everything that is, or is about to be, under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def _direct() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]


def _locked() -> dict[str, tuple[str, int]]:
    """Name to version and number of hashes, of each requirement of the lock."""
    text = (ROOT / "requirements.lock").read_text("utf-8").replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    return {
        _normal(re.split(r"[\[=]", line)[0]): (
            re.split(r"[\s;]", line.partition("==")[2])[0],
            len(re.findall(r"--hash=sha256:[0-9a-f]{64}", line)),
        )
        for line in requirements
    }


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
