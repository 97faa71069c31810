"""What can keep a local stack from running, each told in one sentence.

LocalStackError
├── DataFolderUnusable    the data folder cannot be made, written or read
├── DataFolderInUse       another `up` holds the data folder
├── PortInUse             somebody else listens where we should
├── PackagesUnreachable   Kafka's jars are not cached and cannot be fetched
└── StartFailed           a program ended, or was not ready in time, when it should have started
"""

from __future__ import annotations


class LocalStackError(Exception):
    """The local stack cannot run; the message is one sentence for the person at the terminal."""


class DataFolderUnusable(LocalStackError):
    """The data folder cannot be made, written or read."""


class DataFolderInUse(LocalStackError):
    """Another `hokusai-auth up` holds the data folder."""


class PortInUse(LocalStackError):
    """Somebody else listens on the port."""


class PackagesUnreachable(LocalStackError):
    """Kafka's jars are not in the cache and cannot be fetched."""


class StartFailed(LocalStackError):
    """A program ended, or was not ready in time, when it should have started."""
