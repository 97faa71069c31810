"""Rate limits: one table of counts a node, that workers admit by and the follower shares with other nodes."""

from __future__ import annotations
