"""Under what circumstances something was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.places import POSTGRES, Places
from benchmarks.plan import Plan
from benchmarks.systems import ENTRIES


def missing(systems: Iterable[str]) -> dict[str, str]:
    """Return why systems cannot be measured, by name: packages that are not installed."""
    absent = {name: [each for each in ENTRIES[name].packages if _version(each) is None] for name in systems}
    return {name: f"{', '.join(packages)} is not installed" for name, packages in absent.items() if packages}


def about(plan: Plan, places: Places, absent: dict[str, str]) -> dict[str, Any]:
    """Return the command, the time, the machine and the versions of everything."""
    packages = dict.fromkeys(package for name in plan.systems for package in ENTRIES[name].packages)
    return {
        "command": ["python", "-m", "benchmarks", *sys.argv[1:]],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": places.version() if POSTGRES in plan.databases else None,
        "versions": {package: _version(package) for package in packages},
        "missing": absent,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """Return what the processor calls itself."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
