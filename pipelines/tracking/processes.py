"""Which process a run belongs to, and whether it still lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

_KEYS = ("hostname", "pid", "process_start", "boot_id", "pid_namespace")
PREFIX = "watched_"  # of the tags: one group, behind what a reader wants to know first


def this_process() -> dict[str, str]:
    """Tags that name this process for as long as the machine lives: a process id alone is given out again."""
    found = {
        "hostname": socket.gethostname(),
        "pid": str(os.getpid()),
        "process_start": _start_of(os.getpid()),
        "boot_id": _read(Path("/proc/sys/kernel/random/boot_id")),
        "pid_namespace": _link(Path("/proc/self/ns/pid")),
    }
    return {PREFIX + key: found[key] for key in _KEYS}


def is_dead(tags: Mapping[str, str]) -> bool:
    """Whether the process that ``this_process`` described in ``tags`` is gone for certain.

    False where that cannot be told from here: another machine, another container's process numbers, no tags.
    """
    there = {key: tags.get(PREFIX + key, tags.get(key)) for key in _KEYS}  # early runs have no prefix
    mine = this_process()
    here = {key: mine[PREFIX + key] for key in _KEYS}
    if None in there.values() or there["hostname"] != here["hostname"]:
        return False
    if there["boot_id"] != here["boot_id"]:
        return True
    if there["pid_namespace"] != here["pid_namespace"]:
        return False
    pid = there["pid"] or ""
    return pid.isdecimal() and _start_of(int(pid)) != there["process_start"]


def _start_of(pid: int) -> str:
    """When the process was started, in the system's own units; empty if it does not live."""
    # Linux: clock ticks since boot, which setting the clock does not change; psutil's time of day would move
    if Path("/proc/self/stat").exists():
        fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()  # the name before may hold spaces
        return fields[19] if fields and fields[0] not in "ZX" else ""
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
