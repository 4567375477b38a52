"""What every benchmark here needs: child processes timed and watched, medians, the table of goals."""

import json
import os
import pathlib
import platform
import re
import shutil
import socket
import statistics
import subprocess
import threading
import time

KEY = "bench-only-0123456789abcdef0123456789abcdef"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def memory(pid, field):
    """`VmHWM` (peak) or `VmRSS` (now) of a process, MB; 0 once it has ended."""
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def timed(command, stdout=None, env=None, good=(0,)):
    """Runs a command to its end, with one of the `good` exit codes. Returns wall seconds, CPU seconds with its children, and its own peak RSS in MB."""
    peak, over = [0.0], threading.Event()
    start, before = time.monotonic(), os.times()
    child = subprocess.Popen(command, stdout=stdout, env=env)

    def watch():
        while not over.wait(0.02):
            peak[0] = max(peak[0], memory(child.pid, "VmHWM"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = child.wait()
    wall, after = time.monotonic() - start, os.times()
    over.set()
    watcher.join()
    if code not in good:
        raise SystemExit(f"{command} ended with {code}")
    return {"seconds": wall, "cpu": after[2] + after[3] - before[2] - before[3], "peak_mb": peak[0]}


def as_nobody():
    """What runs a server under another account than root, which it refuses; the capability lets it read programs in root's home."""
    if os.getuid():
        return []
    capability = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *capability, "--"]


class Runs:
    """Every timed run, by contender."""

    def __init__(self):
        self.runs = {}

    def note(self, name, figures):
        self.runs.setdefault(name, []).append(figures)
        parts = [f"{figures['seconds']:7.2f} s", f"cpu {figures['cpu']:6.2f} s"]
        if figures.get("bytes"):
            parts.append(f"{figures['bytes'] / 1e6:8.1f} MB")
        print(f"  {name:<26}", "  ".join(parts), f"  peak {figures['peak_mb']:.0f} MB" if name.startswith("dbsnap") else "", flush=True)

    def median(self, name, field="seconds"):
        return statistics.median(run[field] for run in self.runs[name])

    def peak(self, name):
        return max(run["peak_mb"] for run in self.runs[name])

    def __contains__(self, name):
        return name in self.runs


class Goals:
    """Rows of (what, measured, the goal, whether it is met)."""

    def __init__(self):
        self.rows = []

    def figure(self, what, text):
        self.rows.append((what, text, "", ""))

    def goal(self, what, value, unit, limit, text=None):
        measured = f"{value:.0f} ms" if unit == " ms" else f"{value:.2f}{unit}"
        self.rows.append((what, measured, text or f"<= {limit}{unit}", "pass" if value <= limit else "FAIL"))

    def show(self):
        print(f"\n{'':<40}{'measured':>12}  {'goal':<16}")
        for what, measured, limit, verdict in self.rows:
            print(f"{what:<40}{measured:>12}  {limit:<16}{verdict}")
        print("\nOther load on the machine moves the times; trust the ratios, and run again when the machine is quiet.")


def in_turn(contenders, turn):
    """The contenders in another order each turn, so that none always pays for the one before it."""
    at = turn % len(contenders)
    return contenders[at:] + contenders[:at]


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def stored(folder):
    """Bytes of the artifacts in a folder that `dbsnap backup` wrote to."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".manifest.json")]
    return sum(path.stat().st_size for path in files)


def bytes_of(text):
    number, unit = re.fullmatch(r"([\d.]+)\s*(KB|MB|GB)", text.upper()).groups()
    return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    total = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), {int(total[1]) / 1e6:.0f} GB memory, load before the run {load}"


def arguments(parser, parts):
    """The arguments that all benchmarks take."""
    parser.add_argument("--size", default="1GB", help="size of the database, such as 200MB or 4GB (default 1GB)")
    parser.add_argument("--only", choices=parts, help="one part instead of all")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that the medians are taken of (default 3)")
    parser.add_argument("--binary", required=True, help="the release build of dbsnap")
    parser.add_argument("--work", default=None, help="folder for the databases and dumps; about 5 times the size")
    parser.add_argument("--json", help="also write every run to this file")


def keep(options, about, runs, goals):
    """Writes every run to the file that `--json` names."""
    if options.json:
        content = {"machine": about, "size": bytes_of(options.size), "runs": runs.runs, "rows": goals.rows}
        pathlib.Path(options.json).write_text(json.dumps(content, indent=2))
