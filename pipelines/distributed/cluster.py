"""A Ray cluster to work on: one of this machine alone, begun and ended here, or one that is there."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.errors import ServerError, UsageError

LOCAL = "local"
_ADDRESS = re.compile(r"(?P<client>ray://)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_CONNECT = 5.0  # seconds until a machine has answered
_STORE = 100 * 2**20  # bytes for what processes hand on, which are names and lines
_LONGEST = 30  # letters of a folder for temporary files, below which Ray's sockets have names short enough


@dataclass(frozen=True)
class Resources:
    """What a cluster has: processors and GPUs in all, and whether this process is a node of it."""

    cpus: int
    gpus: int
    inside: bool


def check_address(address: str) -> None:
    """See whether Ray is installed, an address is one, and something listens there, which Ray would wait for a minute.

    Args:
        address: ``local``, ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.

    Raises:
        UsageError: Ray is not installed, or that is no address.
        ServerError: nothing listens.
    """
    if find_spec("ray") is None:
        raise UsageError("Ray is not installed", where="--ray", how='pip install "imaging-bundles[ray]"')
    if address in (LOCAL, "auto"):
        return
    if (parts := _ADDRESS.fullmatch(address)) is None:
        how = "give auto, HOST:PORT or ray://HOST:PORT, or --ray alone, behind INPUT, for this machine"
        raise UsageError(f"{address!r} is no address of a Ray cluster", where="--ray", how=how)
    try:
        socket.create_connection((parts["host"].strip("[]"), int(parts["port"])), _CONNECT).close()
    except (OSError, OverflowError) as error:
        what = f"nothing answers there ({getattr(error, 'strerror', None) or error})"
        how = "start Ray with `ray start --head`, or look up its address with `ray status`"
        raise ServerError(what, where=address, how=how) from None


@contextlib.contextmanager
def cluster(address: str, processors: int, *, logs: bool = False) -> Iterator[Resources]:
    """Ray, for this process; where it is there already, that.

    Args:
        address: as ``check_address`` takes it.
        processors: of the machine, that a cluster of its own has.
        logs: show what workers print.

    Raises:
        UsageError: Ray is not installed, or that is no address.
        ServerError: no cluster answers, or it is of another version.
    """
    check_address(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not logs:  # Ray prints pages on each worker that ends; we say it in a line
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {"address": address, "logging_level": logging.ERROR, "log_to_driver": logs}
        if address == LOCAL:
            options |= {"num_cpus": processors, **_alone(stack)}
        else:
            os.environ.setdefault(
                "RAY_gcs_server_port_wait_time_s", "1"
            )  # tries to join, of 40 s each: one, not twenty
        import ray

        if not ray.is_initialized():
            stack.callback(_leave)
            handler = signal.getsignal(signal.SIGTERM)
            try:
                ray.init(**options)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                said = _told(error)
                how = "start one with `ray start --head`, give its address, or --ray alone for this machine"
                raise ServerError(f"no Ray cluster could be joined ({said})", where=address, how=how) from error
            finally:
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, handler)  # Ray's would end us before what is not done is noted
        there = ray.cluster_resources()
        yield Resources(int(there.get("CPU", 0)), int(there.get("GPU", 0)), not address.startswith("ray://"))


def _alone(stack: contextlib.ExitStack) -> dict[str, Any]:
    """Options of a cluster that nobody but this process can use, and that leaves nothing behind."""
    if "ray" not in sys.modules:  # which reads these once
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on Linux too: its ports are on the loopback alone
        os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex(32)
    place = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=place if len(place) <= _LONGEST else "/tmp"))  # noqa: S108 - mkdtemp makes it ours alone
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return {
        "include_dashboard": False,
        "object_store_memory": _STORE,
        "_temp_dir": str(folder),
        "_node_ip_address": "127.0.0.1",
    }


def _told(error: Exception) -> str:
    """An error's text in a line; of one with another's stack trace in it the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[-1] if any(line.startswith("Traceback") for line in lines) else " ".join(lines))[:300]


def _leave() -> None:
    import ray

    ray.shutdown()
