"""A proxy in front of a real PostgreSQL that understands its protocol as far as faults need it.

Every statement of every client is shown to `Proxy.rule`, which says its fate: the tests choose the rule. The proxy
can also refuse connections, as a server does that restarts, and hand out sessions as a pooler in transaction mode.
The protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

LATE_S = 0.2
"""How long after its client was cut off a statement reaches the server: time to look whether it did."""

STARTING_UP = ("57P03", "the database system is starting up")
_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
# What PgBouncer 1.18 knows; it refuses the rest: https://www.pgbouncer.org/config.html#ignore_startup_parameters
_POOLER_KNOWS = {"user", "database", "application_name", "client_encoding", "datestyle", "timezone"}
_POOLER_KNOWS |= {"standard_conforming_strings", "replication"}


class Fate(enum.Enum):
    """What becomes of a statement and of the connection it came by."""

    PASS = "it is run and answered"
    CUT_BEFORE = "the connection is cut, and the server never sees it"
    CUT_AFTER = "the server ran it, and the connection is cut before the client hears"
    LATE = "the connection is cut, and the server still gets it, a little later"
    SWALLOW = "nothing is forwarded any more, and the connection stays open"


Rule = Callable[[str], Fate]


STROKE, ALONE = "WITH write_0 AS (UPDATE convo_conversations", " -- alone"
"""How a stroke begins, and what the proxy adds to one that no BEGIN went before."""


def is_commit(statement: str) -> bool:
    """Return whether a statement commits: COMMIT, and a stroke of convo's that is shown to stand alone."""
    return statement.strip().upper() == "COMMIT" or statement.endswith(ALONE)


class Nth:
    """A rule: `fate` for the n-th statement that matches, from 1, and for those after it while `times` lasts."""

    def __init__(self, number: int, fate: Fate, *, times: int = 1, match: Callable[[str], bool] = is_commit) -> None:
        self._number, self._fate, self._times, self._match = number, fate, times, match
        self.seen = 0

    def __call__(self, statement: str) -> Fate:
        self.seen += self._match(statement)
        is_it = self._match(statement) and self._number <= self.seen < self._number + self._times
        return self._fate if is_it else Fate.PASS

    @property
    def has_struck(self) -> bool:
        return self.seen >= self._number


def let_pass(statement: str) -> Fate:
    return Fate.PASS


class Proxy:
    """Listens on a port of its own before the server of `target`, until it is closed.

    `sessions` makes it a pooler: that many sessions on the server, each transaction of a client on another one.
    """

    def __init__(self, target: str, *, sessions: int = 0) -> None:
        self.rule: Rule = let_pass
        self.statements: list[str] = []
        self.error: tuple[str, str] | None = None
        """Instead of a session, each new client gets this: SQLSTATE and message."""
        self.is_silent = False
        """Whether new clients are let in and told nothing."""
        self._target = target
        self._address = _address(target)
        self._lock = threading.RLock()  # a rule may refuse and cut
        self._threads: list[threading.Thread] = []
        self._links: set[_Link] = set()
        self._free: SimpleQueue[psycopg.Connection | None] = SimpleQueue()
        self._sessions = [self._new_session() for _ in range(sessions)]
        self._holder = _bound_socket(0)  # keeps the port ours while nobody listens on it
        self._listener: socket.socket | None = None
        self.admit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        return int(self._holder.getsockname()[1])

    @property
    def url(self) -> str:
        """The target's URL, by way of the proxy."""
        direct = make_url(self._target).difference_update_query(["host", "port"])
        return direct.set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def admit(self) -> None:
        """Listen; again after refuse()."""
        if self._listener is None:
            self._listener = _bound_socket(self.port)
            self._listener.listen()
            self._start(self._accept, self._listener)

    def refuse(self) -> None:
        """Refuse connections from now on; those that are open stay."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)

    def cut_all(self) -> None:
        """Cut every open connection."""
        with self._lock:
            links = list(self._links)
        for each in links:
            each.cut()

    def close(self) -> None:
        self.refuse()
        self.cut_all()
        for _ in self._threads:
            self._free.put(None)
        for each in self._threads:
            each.join()
        for session in self._sessions:
            session.close()
        self._holder.close()

    def decide(self, statement: str) -> Fate:
        with self._lock:
            self.statements.append(statement)
            return self.rule(statement)

    @property
    def is_pooler(self) -> bool:
        return bool(self._sessions)

    @property
    def parameters(self) -> dict[str, str]:
        """What a pooler tells a client of the sessions it has."""
        names = ("server_version", "client_encoding", "standard_conforming_strings", "integer_datetimes", "DateStyle")
        info = self._sessions[0].info
        return {name: str(info.parameter_status(name)) for name in names}

    def connect(self) -> socket.socket:
        """Return a new connection to the server."""
        family = socket.AF_UNIX if isinstance(self._address, str) else socket.AF_INET
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            server.connect(self._address)
        except OSError:
            server.close()
            raise
        _hurry(server)
        return server

    def take(self) -> psycopg.Connection:
        """Return the pooler's session that was used longest ago; waits until one is free."""
        session = self._free.get()
        if session is None:
            raise ConnectionAbortedError
        return session

    def give_back(self, session: psycopg.Connection, *, whole: bool) -> None:
        """Take a session back; one that was left in a transaction is closed and replaced."""
        if whole:
            self._free.put(session)
            return
        session.close()
        self._sessions[self._sessions.index(session)] = self._new_session()

    def _new_session(self) -> psycopg.Connection:
        session = psycopg.connect(self._target, autocommit=True, sslmode="disable", gssencmode="disable")
        self._free.put(session)
        return session

    def _start(self, work: Callable[[socket.socket], None], argument: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(argument,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        _hurry(client)
        link = _Link(self, client)
        with self._lock:
            self._links.add(link)
        with contextlib.suppress(OSError):  # either end is gone: so is the connection
            link.run()
        with self._lock:
            self._links.remove(link)
        with contextlib.suppress(psycopg.OperationalError):  # the server is gone: no session takes the old one's place
            link.close()


class _Link:
    """One client's connection, and the server's that belongs to it at the moment."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._session: psycopg.Connection | None = None
        self._unanswered = 0
        self._is_mute = False
        self._prepared: dict[bytes, str] = {}
        self._status = b"I"
        """Whether the server was in a transaction when it was ready last."""
        self._batch = b""
        self._of_batch: str | None = None

    def cut(self) -> None:
        """End both connections; safe to call from another thread."""
        for each in filter(None, (self._client, self._server)):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._client.close()
        self._let_go(whole=False)

    def run(self) -> None:
        startup = self._read_startup()
        if self._proxy.is_silent:
            self._swallow()
        elif self._proxy.error is not None:
            self._client.sendall(_error(*self._proxy.error))
        elif self._proxy.is_pooler:
            self._welcome(startup)
        else:
            self._server = self._proxy.connect()
            self._server.sendall(startup)
            self._relay()

    def _read_startup(self) -> bytes:
        while True:
            head = _read(self._client, 8)
            length, code = struct.unpack("!II", head)
            if code not in (_SSL, _GSS):
                return head + _read(self._client, length - 8)
            self._client.sendall(b"N")

    def _welcome(self, startup: bytes) -> None:
        """Greet a client as a pooler does: no session is needed before its first statement."""
        if struct.unpack("!I", startup[4:8])[0] == _CANCEL:
            return
        words = startup[8:].split(b"\0")
        unknown = [each.decode() for each in words[:-2:2] if each.decode().lower() not in _POOLER_KNOWS]
        if unknown:
            self._client.sendall(_error("08P01", f"unsupported startup parameter: {unknown[0]}"))
            return
        told = b"".join(_message(b"S", *pair) for pair in self._proxy.parameters.items())
        key = b"K" + struct.pack("!III", 12, 0, 0)
        self._client.sendall(b"R" + struct.pack("!II", 8, 0) + told + key + b"Z" + struct.pack("!I", 5) + b"I")
        self._relay()

    def _relay(self) -> None:
        while True:
            ends = [each for each in (self._client, self._server) if each is not None]
            ready = select.select(ends, [], [])[0]
            if self._client in ready:
                kind, message = _read_message(self._client)
                if kind == b"X" and self._proxy.is_pooler:
                    return
                if not self._forward(kind, message):
                    return
            if self._server is not None and self._server in ready:
                kind, message = _read_message(self._server)
                if not self._is_mute:
                    self._client.sendall(message)
                if kind == b"Z" and not self._answered(message[5:6]):
                    return

    def _forward(self, kind: bytes, message: bytes) -> bool:
        """Send a client's message on, by its fate; return whether the connection goes on."""
        if kind in b"PBDE":  # one statement in several messages, up to the one that asks for an answer
            self._take(kind, message)
            return True
        statement = message[5:-1].decode() if kind == b"Q" else self._of_batch
        message, self._batch, self._of_batch = self._batch + message, b"", None
        fate = Fate.PASS if statement is None else self._proxy.decide(statement)
        if fate is Fate.SWALLOW:
            self._swallow()
        if fate in (Fate.SWALLOW, Fate.CUT_BEFORE):
            return False
        self._send(kind, message, late=fate is Fate.LATE)
        self._is_mute = self._is_mute or fate is Fate.CUT_AFTER
        return fate is not Fate.LATE

    def _take(self, kind: bytes, message: bytes) -> None:
        """Keep a part of a statement; one that is prepared under a name will be executed by it."""
        self._batch += message
        if kind == b"P":
            name, text = message[5:].split(b"\0")[:2]
            self._prepared[name] = text.decode()
        elif kind == b"B":
            text = self._prepared[message[5:].split(b"\0")[1]]
            self._of_batch = text + ALONE if self._status == b"I" and text.startswith(STROKE) else text

    def _swallow(self) -> None:
        while self._client.recv(65536):
            pass

    def _send(self, kind: bytes, message: bytes, *, late: bool) -> None:
        if self._server is None:
            self._session = self._proxy.take()
            self._server = socket.socket(fileno=socket.dup(self._session.fileno()))
            self._server.setblocking(True)
        if late:
            self._client.close()
            threading.Event().wait(LATE_S)
        self._server.sendall(message)
        self._unanswered += kind in b"QSF"
        while late and kind in b"QS" and _read_message(self._server)[0] != b"Z":
            pass

    def _answered(self, status: bytes) -> bool:
        """Note that the server is ready again; return whether the connection goes on."""
        self._unanswered -= 1
        self._status = status
        if self._proxy.is_pooler and status == b"I" and self._unanswered == 0:
            self._let_go(whole=True)
        return not self._is_mute

    def _let_go(self, *, whole: bool) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._session is not None:
            session, self._session = self._session, None
            self._proxy.give_back(session, whole=whole)


def _address(target: str) -> str | tuple[str, int]:
    given = conninfo_to_dict(target)
    host, port = str(given.get("host") or "localhost"), int(given.get("port") or 5432)
    return str(Path(host) / f".s.PGSQL.{port}") if host.startswith("/") else (host, port)


def _bound_socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


def _hurry(connection: socket.socket) -> None:
    """Let small messages go at once, as each of them is awaited."""
    if connection.family is socket.AF_INET:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _end(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # close() alone would not wake the thread that waits in accept()
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _read(source: socket.socket, size: int) -> bytes:
    read = bytearray()
    while len(read) < size:
        some = source.recv(size - len(read))
        if not some:
            raise ConnectionResetError
        read += some
    return bytes(read)


def _read_message(source: socket.socket) -> tuple[bytes, bytes]:
    head = _read(source, 5)
    return head[:1], head + _read(source, struct.unpack("!I", head[1:])[0] - 4)


def _message(kind: bytes, *texts: str) -> bytes:
    body = b"".join(each.encode() + b"\0" for each in texts)
    return kind + struct.pack("!I", len(body) + 4) + body


def _error(state: str, text: str) -> bytes:
    return _message(b"E", "SFATAL", "VFATAL", f"C{state}", f"M{text}", "")
