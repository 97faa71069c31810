"""`python -m bench [--quick]`: all benches, one after the other."""

from __future__ import annotations

import argparse
import subprocess
import sys

from bench.summary import BENCHES


def main() -> int:
    """Each in a process of its own; a bench that fails does not keep the others from running."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run all benches.")
    parser.add_argument("--quick", action="store_true", help="try them out; the figures mean nothing")
    options = ["--quick"] if parser.parse_args().quick else []
    failed = [
        name
        for name in BENCHES
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *options], check=False).returncode  # noqa: S603
    ]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
