"""PostgreSQL opened right: the driver, the timeouts, a small pool.

Each turn holds a connection for two short transactions and none while the model answers, so that a few connections
serve hundreds of conversations. The timeouts go in as startup options: a SET would leak into other clients' sessions
behind a pooler.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine

from convo.errors import StoreUnavailable

TIMEOUTS = "-c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=15s"
"""No transaction spans a model's answer: one that idles is a fault, and the server ends it."""


def make_engine(url: URL) -> Engine:
    """Return an engine on the server of `url`, through psycopg whatever driver it names.

    Raises:
        StoreUnavailable: psycopg is not installed.
    """
    options = " ".join(filter(None, (TIMEOUTS, _one(url.query.get("options")))))
    arguments: dict[str, Any] = {
        "application_name": "convo",
        "connect_timeout": 10,
        "keepalives_idle": 10,  # the usual default, two hours, is how long a dead client's row lock could last
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "prepare_threshold": None,  # a pooler in transaction mode hands each transaction another session
    }
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg").difference_update_query(["options"]),
            connect_args={name: value for name, value in arguments.items() if name not in url.query}
            | {"options": options},
            hide_parameters=True,
            max_overflow=0,
            pool_pre_ping=True,
            pool_recycle=1800,
            pool_size=5,
        )
    except ModuleNotFoundError as error:
        raise StoreUnavailable("PostgreSQL needs its driver: pip install 'convo[postgres]'") from error


def _one(value: str | tuple[str, ...] | None) -> str | None:
    return " ".join(value) if isinstance(value, tuple) else value
