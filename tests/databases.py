"""Private MariaDB and PostgreSQL servers for a test session, and fresh empty databases on them and on SQLite."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
import pymysql
import pytest

from fileroom_storage.storage import IndexSchema

DATABASES = ("sqlite", "mariadb", "postgresql")
START_SECONDS = 60
_INDEX = "fileroom_index"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def find_program(name: str, debian_package: str, folders: Sequence[Path] = ()) -> str:
    """The path of a program; where it is missing the test fails, and says what to install."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/sbin"])
    program = shutil.which(name, path=path)
    if program is None:
        pytest.fail(f"{name} is missing: run tests/install-debian-packages {debian_package}", pytrace=False)
    return program


class PrivateServer(ABC):
    """A database server of this process only: own folder, own port, gone with the process that started it."""

    user: str
    stop_signal: signal.Signals

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fileroom-", dir=self._reachable_folder()))
        self.folder.chmod(0o755)
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user, self.user)

    @abstractmethod
    def make_data_folder(self) -> list[str]:
        """The command that fills the data folder."""

    @abstractmethod
    def serve(self) -> list[str]:
        """The command that serves the data folder at `port`, in the foreground."""

    @abstractmethod
    def execute(self, statement: str) -> None:
        """Run one statement as the server's administrator."""

    @abstractmethod
    def url(self, name: str) -> str:
        """The SQLAlchemy URL of the database of this name."""

    @abstractmethod
    def copy(self, source: str, name: str) -> None:
        """Make a database of this name with all that stands in another, which nobody is connected to."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""

    def start(self) -> None:
        log = self.folder / "log"
        with log.open("wb") as output:
            made = subprocess.run(self._as_user(self.make_data_folder()), cwd=self.folder, stdout=output, stderr=output)
            for _ in range(3):  # somebody else may take the port first
                if made.returncode == 0 and self._answers_after_start(output):
                    return
        text = log.read_text(errors="replace")
        self.stop()
        pytest.fail(f"a private {type(self).__name__} did not start:\n{text[-4000:]}", pytrace=False)

    def kill(self) -> None:
        """`kill -9`: what it has not written down is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start_again(self) -> None:
        """After `kill`, or to go on after a planned stop: with the same data at the same port."""
        with (self.folder / "log").open("ab") as output:
            deadline = time.monotonic() + START_SECONDS
            while not self._answers_at(self.port, output):  # processes of the one before may still be ending
                if time.monotonic() > deadline:
                    pytest.fail(f"a private {type(self).__name__} did not start again", pytrace=False)
                time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def fresh_database(self, source: str | None = None) -> Iterator[str]:
        """The URL of a new database, empty or a copy of another, which is gone afterwards."""
        name = f"fileroom_{next(self._numbers)}"
        if source is None:
            self.execute(f"CREATE DATABASE {name}")
        else:
            self.copy(source, name)
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    def _answers_after_start(self, output: BinaryIO) -> bool:
        return self._answers_at(free_port(), output)

    def _answers_at(self, port: int, output: BinaryIO) -> bool:
        self.port = port
        command = self._as_user(self.serve())
        self._process = process = subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=output)
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self.execute("SELECT 1")
            except (pymysql.OperationalError, psycopg.OperationalError):
                time.sleep(0.05)
            else:
                return True
        process.kill()
        process.wait()
        self._process = None
        return False

    def _as_user(self, command: list[str]) -> list[str]:
        # Neither server runs as root, and none outlives a test session that was killed.
        options = [f"--pdeathsig={self.stop_signal.name.removeprefix('SIG')}"]
        if os.geteuid() == 0:
            options += [f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"]
        return [find_program("setpriv", "util-linux"), *options, *command]

    @staticmethod
    def _reachable_folder() -> Path:
        folder = Path(tempfile.gettempdir())
        reachable = all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))
        return folder if reachable or os.geteuid() != 0 else Path("/tmp")


class MariaDB(PrivateServer):
    """MariaDB with its own defaults: the character set of a new database is latin1, as on some sites."""

    user = "mysql"
    stop_signal = signal.SIGKILL  # its data is thrown away

    def __init__(self, options: Sequence[str] = ()) -> None:
        super().__init__()
        self._options = tuple(options)
        self._statements: dict[str, list[str]] = {}  # that copy a database, by its name

    def make_data_folder(self) -> list[str]:
        program = find_program("mariadb-install-db", "mariadb-server")
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=16M"]
        return [program, "--no-defaults", f"--datadir={self.folder / 'data'}", *options]

    def serve(self) -> list[str]:
        return [
            find_program("mariadbd", "mariadb-server"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-log-file-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
            "--innodb-flush-method=nosync",
            *self._options,
        ]

    def execute(self, statement: str) -> None:
        self._query(statement)

    def url(self, name: str) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/{name}"

    def copy(self, source: str, name: str) -> None:
        if source not in self._statements:
            self._statements[source] = list(self._statements_of(source))
        self.execute(f"CREATE DATABASE {name}")
        with self._connect(name) as connection, connection.cursor() as cursor:
            for statement in self._statements[source]:
                cursor.execute(statement)
            connection.commit()

    def _statements_of(self, source: str) -> Iterator[str]:
        """Those that make its tables, in any order, then its rows, then its views."""
        yield "SET foreign_key_checks = 0"
        with self._connect(source) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW FULL TABLES")
            kinds = dict(cursor.fetchall())
            tables = [name for name, kind in kinds.items() if kind == "BASE TABLE"]
            for table in tables:
                cursor.execute(f"SHOW CREATE TABLE `{table}`")
                [(_, statement)] = cursor.fetchall()
                yield statement
            for table in tables:
                if cursor.execute(f"SELECT 1 FROM `{table}` LIMIT 1"):
                    yield f"INSERT INTO `{table}` SELECT * FROM `{source}`.`{table}`"
            for view in kinds.keys() - set(tables):
                cursor.execute(f"SHOW CREATE VIEW `{view}`")
                [(_, statement, *_)] = cursor.fetchall()
                yield statement.replace(f"`{source}`.", "")
        yield "SET foreign_key_checks = 1"

    def drop(self, name: str) -> None:
        for (connection,) in self._query(f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"):
            with suppress(pymysql.OperationalError):  # it has just gone by itself
                self._query(f"KILL {connection}")
        self.execute(f"DROP DATABASE {name}")

    def _query(self, statement: str) -> Sequence[tuple[object, ...]]:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            rows: Sequence[tuple[object, ...]] = cursor.fetchall()
            return rows

    def _connect(self, name: str | None = None) -> "pymysql.Connection[Any]":
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=name)


class PostgreSQL(PrivateServer):
    """PostgreSQL with an English collation, as most sites have, so that nothing relies on the order of bytes."""

    user = "postgres"
    stop_signal = signal.SIGQUIT  # an immediate shutdown: its data is thrown away

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._settings = dict(settings or {})

    def make_data_folder(self) -> list[str]:
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"]
        collation = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
        return [self._program("initdb"), f"--pgdata={self.folder / 'data'}", *options, *collation]

    def serve(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "max_connections": 200,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        } | self._settings
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self._program("postgres"), "-D", str(self.folder / "data"), *options]

    def execute(self, statement: str) -> None:
        address = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres connect_timeout=5"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"

    def copy(self, source: str, name: str) -> None:
        self.execute(f"CREATE DATABASE {name} TEMPLATE {source}")

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @staticmethod
    def _program(name: str) -> str:
        versions = sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True
        )
        return find_program(name, "postgresql", versions)


def make_index(url: str) -> None:
    with IndexSchema(url) as index:
        index.create_if_empty()


@cache
def _sqlite_index() -> bytes:
    with tempfile.TemporaryDirectory(prefix="fileroom-") as folder:
        path = Path(folder) / "index.sqlite"
        make_index(f"sqlite:///{path}")
        return path.read_bytes()


def copy_index(folder: Path) -> Path:
    """An index in a file of its own: where storage looks for it, if the folder is one for data."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "index.sqlite"
    path.touch(mode=0o600)
    path.write_bytes(_sqlite_index())
    return path


class Databases:
    """Fresh databases of any kind; a server starts when its first database is asked for."""

    def __init__(self) -> None:
        self._servers: dict[str, PrivateServer] = {}
        self._indexes: set[str] = set()  # the kinds that have one to copy

    @contextmanager
    def fresh(self, kind: str, folder: Path) -> Iterator[str]:
        """The URL of an empty database; SQLite's is a file in `folder`."""
        if kind == "sqlite":
            yield f"sqlite:///{folder / 'index.sqlite'}"
        else:
            with self._server(kind).fresh_database() as url:
                yield url

    @contextmanager
    def fresh_index(self, kind: str, folder: Path) -> Iterator[str]:
        """As `fresh`, with an index and nothing in it: the migrations make the first, all others are copies."""
        if kind == "sqlite":
            yield f"sqlite:///{copy_index(folder)}"
            return
        server = self._server(kind)
        if kind not in self._indexes:
            server.execute(f"CREATE DATABASE {_INDEX}")
            make_index(server.url(_INDEX))
            self._indexes.add(kind)
        with server.fresh_database(_INDEX) as url:
            yield url

    def stop(self) -> None:
        for server in self._servers.values():
            server.stop()

    def _server(self, kind: str) -> PrivateServer:
        if kind not in self._servers:
            server = {"mariadb": MariaDB, "postgresql": PostgreSQL}[kind]()
            server.start()
            self._servers[kind] = server
        return self._servers[kind]
