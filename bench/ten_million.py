"""The bench `million` with ten million keys: it needs some 40 GB of disk where TMPDIR is."""

from __future__ import annotations

from pathlib import Path

from bench.million import TEN_MILLION, main

if __name__ == "__main__":
    main(Path(__file__).stem, TEN_MILLION)
