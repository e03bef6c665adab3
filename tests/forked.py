"""A child process that a test forks from its own, and that tells what came of it."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from typing import Any


class Child:
    """A forked child that runs `work`, and tells what it returned."""

    def __init__(self, work: Callable[[], Any]) -> None:
        ear, mouth = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads at a fork, from Python 3.12 on
            self.pid = os.fork()
        if self.pid == 0:
            os.close(ear)
            _tell(mouth, work)
        os.close(mouth)
        self._ear = ear

    def result(self) -> Any:
        with os.fdopen(self._ear, "rb") as ear:
            told = ear.read()
        os.waitpid(self.pid, 0)
        result = pickle.loads(told)
        if isinstance(result, BaseException):
            raise result
        return result


def _tell(mouth: int, work: Callable[[], Any]) -> None:
    try:
        with os.fdopen(mouth, "wb") as pipe:
            pipe.write(_told(work))
    finally:
        os._exit(0)  # the parent's tests are not the child's


def _told(work: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps(work())
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def in_child(work: Callable[[], Any]) -> Any:
    return Child(work).result()
