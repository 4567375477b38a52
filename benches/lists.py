"""Times the list pages of DBSnap over a long history, and the sweep of old history. Called by scripts/bench."""

import argparse
import json
import os
import pathlib
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
import urllib.request

from harness import KEY, Goals, free_port, machine, memory

HERE = pathlib.Path(__file__).parent
HISTORY = HERE.parent / "tests/it/upkeep/long_history.sql"
SOME = "-0000-7000-8000-000000000005"
PAGES = [
    "/", "/databases", "/databases?q=7", f"/databases/00000000{SOME}", "/backups", "/backups?page=1000", "/backups?status=failed",
    "/backups?type=hourly", "/backups?q=db-05", "/backups?q=nothing-like-it", f"/backups?databaseId=00000000{SOME}", f"/backups/00000002{SOME}",
    "/jobs", "/jobs?page=1000", "/jobs?kind=restore", "/jobs?status=failed", "/logs", "/logs?level=error", "/logs?q=nothing-like-it",
    "/restores", "/compare", "/audit", "/settings", "/api/system/stats", "/api/backups?limit=200", "/api/databases?limit=200",
]
# Calculations over every backup, not lists: what retention would delete, by the policies that apply and by one to try out.
PLANS = [
    ("what retention would delete: page", "/retention-policies/plan", None),
    ("what retention would delete: API, ten groups", "/api/retention-policies/plan?limit=10", None),
    ("the same of one database", f"/retention-policies/plan?databaseId=00000000{SOME}", None),
    ("a policy tried out on everything", "/api/retention-policies/preview?limit=10", json.dumps({"policy": {
        "mode": "hybrid", "keepHourly": 48, "keepDaily": 14, "keepWeekly": 8, "keepMonthly": 24, "keepYearly": 10, "maxAgeDays": 3650,
        "timezone": "Europe/Berlin"}}).encode()),
]


class Served:
    """`dbsnap serve` on a free port; the time until it is ready is in `ready`, seconds."""

    def __init__(self, binary, data):
        self.port = free_port()
        env = {"PATH": os.environ["PATH"], "ENCRYPTION_KEY": KEY, "AUTH_MODE": "none", "HOSTNAME": "127.0.0.1", "PORT": str(self.port)}
        env |= {"DATABASE_PATH": str(data / "dbsnap.db"), "BACKUP_STORAGE_PATH": str(data / "backups"), "LOG_LEVEL": "warn"}
        begun = time.monotonic()
        self.child = subprocess.Popen([binary, "serve"], env=env, cwd=data)
        while self.child.poll() is None and time.monotonic() < begun + 60:
            try:
                self.get("/api/health/ready")
                self.ready = time.monotonic() - begun
                return
            except OSError:
                time.sleep(0.005)
        raise SystemExit("dbsnap did not become ready")

    def get(self, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


def fill(path, databases, backups):
    script = HISTORY.read_text()
    for name, value in {"databases": databases, "backups": backups, "now": int(time.time() * 1000)}.items():
        script = script.replace(f"{{{name}}}", str(value))
    with sqlite3.connect(path) as catalogue:
        catalogue.executescript(script)


def cleanup(served):
    """Seconds that the sweep of everything older than a day takes, and the longest that a page took meanwhile, ms."""
    days = json.dumps({"logRetentionDays": 1, "historyRetentionDays": 1}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{served.port}/api/system/settings", days, {"content-type": "application/json"}, method="PUT")
    urllib.request.urlopen(request).close()
    begun = time.monotonic()
    job = json.loads(served.get("/api/system/maintenance", b'{"task": "cleanup"}'))["data"]["id"]
    longest = 0
    while True:
        asked = time.monotonic()
        status = json.loads(served.get(f"/api/jobs/{job}"))["data"]["status"]
        longest = max(longest, time.monotonic() - asked)
        if status not in ("queued", "running"):
            break
    if status != "completed":
        raise SystemExit(f"the cleanup ended as {status}")
    return time.monotonic() - begun, longest * 1000


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench lists", description=__doc__)
    parser.add_argument("--binary", required=True, help="the release build of dbsnap")
    parser.add_argument("--databases", type=int, default=100)
    parser.add_argument("--backups", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20, help="requests that the medians are taken of (default 20)")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
    options = parser.parse_args()
    print(f"{machine()}\n{options.databases} databases, {options.backups} backups, medians of {options.rounds} requests\n")
    goals, figures = Goals(), {}
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder)
        Served(options.binary, data).stop()
        fill(data / "dbsnap.db", options.databases, options.backups)
        served = Served(options.binary, data)
        try:
            goals.figure("catalogue", f"{(data / 'dbsnap.db').stat().st_size / 1e6:.0f} MB")
            goals.figure("start to ready", f"{served.ready * 1000:.0f} ms")
            for path in PAGES:
                times = []
                for _ in range(options.rounds):
                    begun = time.monotonic()
                    served.get(path)
                    times.append((time.monotonic() - begun) * 1000)
                figures[path] = statistics.median(times)
                goals.goal(path.replace(SOME, "…"), figures[path], " ms", 100)
            for name, path, body in PLANS:
                times = []
                for _ in range(max(options.rounds // 4, 1)):
                    begun = time.monotonic()
                    served.get(path, body)
                    times.append((time.monotonic() - begun) * 1000)
                figures[name] = statistics.median(times)
                goals.figure(name, f"{figures[name]:.0f} ms")
            goals.figure("memory of the process", f"{memory(served.child.pid, 'VmHWM'):.0f} MB")
            seconds, longest = cleanup(served)
            goals.figure("sweep of all but the last day", f"{seconds:.1f} s")
            goals.figure("longest page meanwhile", f"{longest:.0f} ms")
        finally:
            served.stop()
    goals.show()
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


main()
