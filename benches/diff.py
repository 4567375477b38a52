"""Times snapshots and comparisons: beside COPY, beside reladiff, and one tier beside the other. Called by scripts/bench diff."""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

from harness import KEY, Goals, Runs, arguments, bytes_of, fresh, keep, machine, stored, timed
from postgres import Server, make, newest_postgres

KEYS = {"users": "id", "orders": "id", "items": "order_id, line", "events": "id"}
# Only narrow rows show the speed of the merge itself.
NARROW = "CREATE TABLE narrow (id bigint PRIMARY KEY, n int NOT NULL, at timestamptz NOT NULL)"
FILL = "INSERT INTO narrow SELECT i, (i::bigint * 7919) % 100003, timestamptz '2026-01-01' + i * interval '1 second' FROM generate_series(1, {rows}) i"


class Bench:
    def __init__(self, server, binary, work, rounds):
        self.server, self.binary, self.work, self.rounds = server, binary, work, rounds
        self.runs = Runs()

    def env(self):
        return {**os.environ, "ENCRYPTION_KEY": KEY}

    def snapshot(self, database, name, label=None):
        """A snapshot file of a database."""
        path = self.work / f"{name}.snap"
        path.unlink(missing_ok=True)
        figures = timed([self.binary, "snapshot", "create", "--url", self.server.url(database), "--to", path], subprocess.DEVNULL, self.env())
        if label:
            self.runs.note(label, {**figures, "bytes": path.stat().st_size})
        return path

    def diff(self, label, before, after, *options, expect):
        """A comparison by `dbsnap diff --json`; `expect` is (added, removed, changed) over all tables."""
        out = self.work / "diff.json"
        command = [self.binary, "diff", before, after, "--json", *options]
        with open(out, "wb") as file:
            # Equal is 0, different is 1.
            figures = timed(command, file, self.env(), good=(0, 1))
        found = json.loads(out.read_text())
        counts = tuple(sum(table[kind] for table in found["tables"]) for kind in ("added", "removed", "changed"))
        if counts != expect:
            raise SystemExit(f"{label}: found {counts} instead of {expect}")
        provenance = found["provenance"]
        self.runs.note(label, {**figures, "compared": provenance["durationMs"] / 1000, "rows": provenance["rows"], "skipped": provenance["rowsSkipped"]})
        print(f"    comparing took {provenance['durationMs']} ms; {provenance['rowsSkipped']} of {provenance['rows']} rows skipped, tier {provenance['tier']}")

    # --- the groups ---

    def snapshots(self):
        """The shop: a snapshot beside COPY of the same tables in key order, and its size beside the dump's."""
        for _ in range(self.rounds):
            self.server.checkpoint()
            copies = ";".join(f"COPY (SELECT * FROM {table} ORDER BY {key}) TO STDOUT" for table, key in KEYS.items())
            self.runs.note("COPY TO, ordered", timed([*self.server.psql("shop"), "-c", copies], subprocess.DEVNULL))
            self.server.checkpoint()
            self.snapshot("shop", "shop", label="dbsnap snapshot")
        out = fresh(self.work / "dump")
        backup = [self.binary, "backup", "--url", self.server.url("shop"), "--to", out, "--artifacts", "dump"]
        self.runs.note("dbsnap dump", {**timed(backup, subprocess.DEVNULL, self.env()), "bytes": stored(out)})

    def identical(self):
        again = self.snapshot("shop", "again")
        self.diff("dbsnap diff, identical", self.work / "shop.snap", again, expect=(0, 0, 0))

    def scattered(self):
        """Rows changed at even distances: the worst case for skipping by hash."""
        rows = int(self.server.ask("shop", "SELECT count(*) FROM events"))
        count = len(range(1, rows + 1, max(1, rows // self.changes)))
        self.server.ask("shop", f"UPDATE events SET kind = kind || '!' WHERE (id - 1) % {max(1, rows // self.changes)} = 0")
        self.snapshot("shop", "changed")
        for _ in range(self.rounds):
            self.diff(f"dbsnap diff, {self.changes} scattered", self.work / "shop.snap", self.work / "changed.snap", expect=(0, 0, count))

    def narrow(self, rows):
        """Nothing can be skipped: the same rows under two hash keys; one of the files is not encrypted."""
        self.server.create("narrow")
        self.server.ask("narrow", NARROW)
        self.server.ask("narrow", FILL.format(rows=rows))
        sealed, plain = self.snapshot("narrow", "narrow"), self.work / "plain.snap"
        plain.unlink(missing_ok=True)
        subprocess.run([self.binary, "snapshot", "create", "--url", self.server.url("narrow"), "--to", plain, "--no-encrypt"], check=True, stdout=subprocess.DEVNULL)
        for _ in range(self.rounds):
            self.diff("dbsnap diff, nothing skippable", sealed, plain, expect=(0, 0, 0))

    def live(self, rows):
        """A table with 100 changes against its snapshot: both tiers, and reladiff between the same rows in two tables."""
        before = self.snapshot("narrow", "before")
        # What reladiff compares: two tables of one server. It has no snapshot to compare with.
        self.server.ask("narrow", "CREATE TABLE narrow_before (LIKE narrow INCLUDING ALL)")
        self.server.ask("narrow", "INSERT INTO narrow_before SELECT * FROM narrow")
        self.server.ask("narrow", f"UPDATE narrow SET n = n + 1 WHERE id % {rows // 100} = 0")
        self.server.ask("narrow", "VACUUM ANALYZE")
        url = self.server.url("narrow")
        for _ in range(self.rounds):
            self.server.checkpoint()
            self.diff("dbsnap diff, live, full", before, f"live:{url}", "--full", "--tables", "public.narrow", expect=(0, 0, 100))
            self.server.checkpoint()
            self.diff("dbsnap diff, live, fast", before, f"live:{url}", "--tables", "public.narrow", expect=(0, 0, 100))
            if self.reladiff:
                self.server.checkpoint()
                command = [self.reladiff, url, "narrow_before", url, "narrow", "-k", "id", "-c", "%", "-j", "2"]
                self.runs.note("reladiff", timed(command, subprocess.DEVNULL))


def goals(runs):
    goals = Goals()
    if "dbsnap snapshot" in runs:
        goals.figure("median: COPY TO, ordered", f"{runs.median('COPY TO, ordered'):.2f} s")
        goals.figure("median: dbsnap snapshot", f"{runs.median('dbsnap snapshot'):.2f} s")
        goals.goal("snapshot time / COPY TO, ordered", runs.median("dbsnap snapshot") / runs.median("COPY TO, ordered"), "", 1.5)
        goals.goal("snapshot size / dump size", runs.median("dbsnap snapshot", "bytes") / runs.median("dbsnap dump", "bytes"), "", 1.10)
    if "dbsnap diff, identical" in runs:
        goals.goal("identical snapshots: comparing", runs.median("dbsnap diff, identical", "compared") * 1000, " ms", 50)
    for name in runs.runs:
        if "scattered" in name:
            goals.goal(f"{name.removeprefix('dbsnap diff, ')} changes: comparing", runs.median(name, "compared"), " s", 1.5)
            read = 1 - runs.median(name, "skipped") / runs.median(name, "rows")
            goals.figure("  share of the rows that was read", f"{read:.3f}")
    if "dbsnap diff, nothing skippable" in runs:
        pairs = runs.median("dbsnap diff, nothing skippable", "rows") / 2
        rate = pairs / runs.median("dbsnap diff, nothing skippable", "cpu") / 1e6
        goals.rows.append(("million row pairs / CPU second", f"{rate:.2f}", ">= 3", "pass" if rate >= 3 else "FAIL"))
        goals.figure("million row pairs / second", f"{pairs / runs.median('dbsnap diff, nothing skippable', 'compared') / 1e6:.2f}")
    if "dbsnap diff, live, full" in runs:
        full, fast = runs.median("dbsnap diff, live, full"), runs.median("dbsnap diff, live, fast")
        goals.figure("median: live, full tier", f"{full:.2f} s")
        goals.figure("median: live, fast tier", f"{fast:.2f} s")
        goals.goal("live: fast tier / full tier", fast / full, "", 1.0)
        if "reladiff" in runs:
            goals.figure("median: reladiff", f"{runs.median('reladiff'):.2f} s")
            goals.goal("live: full tier / reladiff", full / runs.median("reladiff"), "", 1.0)
            goals.goal("live: fast tier / reladiff", fast / runs.median("reladiff"), "", 1.0)
    for name in runs.runs:
        if name.startswith("dbsnap"):
            goals.goal(f"peak memory: {name.removeprefix('dbsnap ')}", runs.peak(name), " MB", 256)
    return goals


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench diff", description=__doc__)
    arguments(parser, ["snapshot", "narrow", "live"])
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the narrow table (default 10,000,000)")
    parser.add_argument("--changes", type=int, default=10_000, help="scattered changes (default 10,000)")
    parser.add_argument("--pg-bin", default=newest_postgres(), help="folder of initdb, pg_dump and the others")
    parser.add_argument("--reladiff", help="the program reladiff, to compare with")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="dbsnap-bench-", dir=options.work) as folder:
        work = pathlib.Path(folder)
        with Server(work, options.pg_bin) as server:
            bench = Bench(server, os.path.abspath(options.binary), work, options.rounds)
            bench.reladiff, bench.changes = options.reladiff, options.changes
            about = machine()
            print(f"{about}\n{server.ask('postgres', 'SELECT version()').split(' on ')[0]}", flush=True)
            if options.only in (None, "snapshot"):
                make(server, "shop", bytes_of(options.size))
                bench.snapshots()
                bench.identical()
                bench.scattered()
            if options.only in (None, "narrow", "live"):
                print(f"making a table of {options.rows} rows", flush=True)
                bench.narrow(options.rows)
            if options.only in (None, "live"):
                bench.live(options.rows)
    reached = goals(bench.runs)
    reached.show()
    keep(options, about, bench.runs, reached)


if __name__ == "__main__":
    main()
