"""The agreement that every process keeps: events, their meaning, topics, and the ports of the log."""

from __future__ import annotations
