"""Watching a process from outside: its seconds, what it prints about itself, its anonymous memory."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def observe(command: list[str], **variables: str) -> dict[str, Any]:
    """Run a process: its wall seconds, what it printed about itself, and its peak anonymous memory."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | variables
    )
    peak = 0
    with ThreadPoolExecutor(1) as pool:
        output = pool.submit(process.communicate)
        while not output.done():
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.01)
        printed, problems = output.result()
    if process.returncode:
        return {"failed": process.returncode, "says": problems.strip()[-200:]}
    seconds = json.loads(printed.strip().splitlines()[-1]) if "--step" in command else {}
    whole = {"process": time.perf_counter() - start, "anonymous GiB": peak / 2**30}
    return {name: round(value, 3) for name, value in {**seconds, **whole}.items()}


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory of a process; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def processor_seconds(pid: int) -> float:
    """Seconds of processor time of a process, its children aside; 0 when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
