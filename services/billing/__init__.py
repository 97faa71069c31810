"""Keeps the ledger of use, and closes each month of each lineage with one statement."""

from __future__ import annotations
