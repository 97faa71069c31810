"""Keeps the Postgres picture of the log, and lets auditors compare the two."""

from __future__ import annotations
