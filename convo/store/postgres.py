"""PostgreSQL opened right: the driver, how a transaction begins, a small pool.

Each turn holds a connection for two short transactions and none while the model answers, so that a few connections
serve hundreds of conversations.

Behind a pooler the timeouts are told with each BEGIN, in the same round trip, and end with the transaction: as startup
options an old PgBouncer would refuse them, and a plain SET would leak into the sessions of other clients. Therefore
the driver must not begin by itself: it is in its autocommit mode, in which commit() and rollback() still do their work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from convo.errors import InvalidInput, StoreUnavailable
from convo.store.prepared import begin
from convo.store.transactions import IS_BEGUN, IS_DIRECT, SETTINGS

TIMEOUTS = {"lock_timeout": "5s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "15s"}
"""Unless the URL's own `options` set them. No transaction spans a model's answer: one that idles is a fault."""

ANSWER_S = 40.0
"""How long a connection may be silent while an answer is awaited: longer than the server's own `statement_timeout`."""

AUTOCOMMIT = "AUTOCOMMIT"

WHEN_TOLD = 2**31
"""After how many executions psycopg prepares a statement of which it was not told to: never."""


def make_engine(url: URL) -> Engine:
    """Return an engine on the server of `url`, through psycopg whatever driver it names.

    Raises:
        InvalidInput: the URL says what to prepare.
        StoreUnavailable: psycopg is not installed.
    """
    arguments: dict[str, Any] = {
        "application_name": "convo",
        "connect_timeout": 10,
        "keepalives_idle": 10,  # the usual default, two hours, is how long a dead client's row lock could last
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "prepare_threshold": None,  # where _use_session() does not find otherwise
    }
    if "prepare_threshold" in url.query:
        raise InvalidInput("convo prepares statements by itself, where it can: leave prepare_threshold out of the URL")
    if options := _options(url):
        url = url.update_query_dict({"options": options})
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={name: value for name, value in arguments.items() if name not in url.query},
            hide_parameters=True,
            isolation_level=AUTOCOMMIT,
            max_overflow=0,
            pool_reset_on_return=None,  # _roll_back() does, if there is anything
            pool_recycle=1800,
            pool_size=15,
        )
    except ModuleNotFoundError as error:
        raise StoreUnavailable("PostgreSQL needs its driver: pip install 'convo[postgres]'") from error
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", _use_session(_settings("SET", url)))
    return engine


def _connect(dialect: object, record: object, arguments: Any, options: Any) -> Any:  # noqa: ANN401, ARG001 - the hook's signature
    """Return a connection that is given up when no answer comes for ANSWER_S.

    TCP's own timeouts see a network that is cut, and not a server or a pooler that stands still.
    """
    import psycopg

    class Bounded(psycopg.Connection[Any]):
        def wait(self, gen: Any, *more: Any, **named: Any) -> Any:  # noqa: ANN401 - psycopg's signature, of several releases
            try:
                return super().wait(_within(gen), *more, **named)
            except TimeoutError as error:
                self.pgconn.finish()
                msg = "no answer came in time"
                raise psycopg.OperationalError(msg) from error

    return Bounded.connect(*arguments, **options)


def _use_session(settings: str) -> Callable[[Any, ConnectionPoolEntry], None]:
    """Return the hook that makes use of a session which is a connection's own: it keeps `settings` and statements.

    A pooler in transaction mode hands each transaction another session, in which they are not. It tells its clients of
    a process that is none, to cancel what it would not know otherwise.
    """

    def use(connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401 - the driver's, which convo does not import here
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        if pid == connection.info.backend_pid:
            connection.execute(settings)
            connection.prepare_threshold = WHEN_TOLD
            record.info[IS_DIRECT] = True

    return use


def _within(waiting: Generator[Any, int, Any]) -> Generator[Any, int, Any]:
    """Run psycopg's own steps; raise TimeoutError when what they wait for does not come for ANSWER_S.

    psycopg asks again at short intervals, then with 0 for "nothing is ready": https://www.psycopg.org/psycopg3/docs/api/connections.html
    """
    until = time.monotonic() + ANSWER_S
    try:
        wanted = next(waiting)
        while True:
            ready = yield wanted
            if ready:
                until = time.monotonic() + ANSWER_S
            elif time.monotonic() > until:
                raise TimeoutError
            wanted = waiting.send(ready)
    except StopIteration as end:
        return end.value


def attached(engine: Engine, *, is_ours: bool = False) -> Engine:
    """Return `engine` with transactions that begin by convo's rules, which a user's own keeps as they are.

    It `is_ours` when make_engine() made it, and is changed itself then.

    Raises:
        InvalidInput: its driver is another one than psycopg, whose commit() would do nothing here.
    """
    if engine.dialect.driver != "psycopg":
        raise InvalidInput(
            f"convo speaks to PostgreSQL through psycopg, not {engine.dialect.driver}: "
            "create_engine('postgresql+psycopg://…')"
        )
    if SETTINGS in engine.get_execution_options():
        return engine
    ours, options = engine, {SETTINGS: _settings("SET LOCAL", engine.url)}
    if is_ours:
        ours.update_execution_options(**options)
    else:  # SQLAlchemy switches their connections there and back, each time, as others use them too
        ours = engine.execution_options(isolation_level=AUTOCOMMIT, **options)
    ours.hide_parameters = True  # as make_engine() has it: they are people's conversations
    event.listen(ours, "begin", begin)
    event.listen(engine, "reset", _roll_back)  # of the pool, which both have in common
    return ours


def _roll_back(connection: Any, record: ConnectionPoolEntry | None, why: object) -> None:  # noqa: ANN401, ARG001 - the driver's, which convo does not import here
    # SQLAlchemy takes a transaction for ended whose COMMIT was interrupted: it would keep its row locks. Only ours
    # are in autocommit mode.
    if connection.autocommit and not connection.closed and connection.pgconn.transaction_status:
        connection.rollback()
    if record is not None:
        record.info.pop(IS_BEGUN, None)


def _settings(how: str, url: URL) -> str:
    """Return the statements that set the TIMEOUTS, but for those that a URL sets."""
    given = _options(url)
    return "; ".join(f"{how} {name} = '{each}'" for name, each in TIMEOUTS.items() if name not in given)


def _options(url: URL) -> str:
    """Return the startup options that a URL asks for."""
    value = url.query.get("options", "")
    return " ".join(value) if isinstance(value, tuple) else value
