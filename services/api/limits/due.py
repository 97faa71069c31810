"""How a worker tells the node's follower that a count is due: by a datagram that waits for nobody."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from struct import Struct
from typing import NamedTuple

_NAME = "due.socket"
_MESSAGE = Struct("=qQ")
#: Datagrams that are taken at once; more wait in the kernel, and a full queue there says so to the sender.
_MOST = 1000


class Due(NamedTuple):
    """A count to be published: its window, and the place of its slot in the window's table."""

    number: int
    place: int


class DueSignal:
    """A worker's end. Nothing depends on a datagram: who could not send it marks the table instead."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._address = _address(folder)
        self._socket = _socket()

    def send(self, number: int, place: int) -> bool:
        """False: nobody listens, or too much waits already."""
        try:
            self._socket.sendto(_MESSAGE.pack(number, place), self._address)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()
        os.close(self._folder)


class DueListener:
    """The follower's end. A node has one: the last that was made gets what is sent from then on."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._address = _address(folder)
        self._socket = _socket()
        (folder / _NAME).unlink(missing_ok=True)
        self._socket.bind(self._address)
        (folder / _NAME).chmod(0o600)

    async def receive(self) -> list[Due]:
        """What was sent since; waits until there is something."""
        loop = asyncio.get_running_loop()
        messages = [await loop.sock_recv(self._socket, _MESSAGE.size)]
        while len(messages) < _MOST:
            try:
                messages.append(self._socket.recv(_MESSAGE.size))
            except BlockingIOError:
                break
        return [Due(*_MESSAGE.unpack(message)) for message in messages if len(message) == _MESSAGE.size]

    def close(self) -> None:
        self._socket.close()
        os.close(self._folder)


def _address(folder: Path) -> tuple[int, str]:
    """The folder, opened, and an address in it: a path of its own would have to fit into 108 bytes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return descriptor, f"/proc/self/fd/{descriptor}/{_NAME}"


def _socket() -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.setblocking(False)
    return found
