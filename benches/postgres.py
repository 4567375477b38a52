"""Times DBSnap beside pg_dump, gzip and pg_restore on one machine, in one run, on one database. Called by scripts/bench."""

import argparse
import os
import pathlib
import pwd
import socket
import subprocess
import tempfile
import time

import shop_data
from harness import KEY, Goals, Runs, arguments, bytes_of, free_port, fresh, in_turn, keep, machine, memory, stored, timed


class Server:
    """A PostgreSQL of our own with its default durability; its folder is removed at the end."""

    def __init__(self, folder, bin_dir):
        self.bin, self.data, self.port = pathlib.Path(bin_dir), folder / "pg", free_port()
        self.log = folder / "pg.log"
        # PostgreSQL refuses to run as root.
        self.user = [] if os.getuid() else ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.data.mkdir()
        self.log.touch()
        if not os.getuid():
            entry = pwd.getpwnam("postgres")
            folder.chmod(0o755)
            for path in (self.data, self.log):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "--encoding=UTF8")

    def run(self, program, *args):
        subprocess.run([*self.user, self.bin / program, *args], check=True, stdout=subprocess.DEVNULL)

    def __enter__(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=256MB -c max_wal_size=4GB"
        self.run("pg_ctl", "-D", self.data, "-s", "-w", "-l", self.log, "-o", options, "start")
        return self

    def __exit__(self, *_):
        self.run("pg_ctl", "-D", self.data, "-s", "-m", "immediate", "stop")

    def url(self, database):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def psql(self, database):
        return [str(self.bin / "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1", "-d", self.url(database)]

    def ask(self, database, sql):
        return subprocess.run([*self.psql(database), "-c", sql], check=True, capture_output=True, text=True).stdout.strip()

    def create(self, database):
        self.ask("postgres", f'CREATE DATABASE "{database}"')

    def drop(self, database):
        self.ask("postgres", f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def checkpoint(self):
        """So that no run pays for the writes of the one before it."""
        self.ask("postgres", "CHECKPOINT")
        os.sync()


class Bench:
    def __init__(self, server, binary, work, rounds):
        self.server, self.binary, self.work, self.rounds = server, binary, work, rounds
        self.env = {**os.environ, "ENCRYPTION_KEY": KEY}
        self.runs = Runs()

    # --- what is timed ---

    def dbsnap_backup(self, database, label="dbsnap backup"):
        out = fresh(self.work / "dbsnap")
        figures = timed([self.binary, "backup", "--url", self.server.url(database), "--to", out, "--artifacts", "dump"], subprocess.DEVNULL, self.env)
        self.runs.note(label, {**figures, "bytes": stored(out)})

    def pg_dump_custom(self, database):
        out = self.work / "custom.dump"
        figures = timed([self.server.bin / "pg_dump", "-Fc", "-f", out, "-d", self.server.url(database)])
        self.runs.note("pg_dump -Fc", {**figures, "bytes": out.stat().st_size})

    def pg_dump_gzip(self, database):
        out = self.work / "plain.sql.gz"
        pipe = f"set -o pipefail; '{self.server.bin}/pg_dump' -d '{self.server.url(database)}' | gzip > '{out}'"
        figures = timed(["bash", "-c", pipe])
        self.runs.note("pg_dump | gzip", {**figures, "bytes": out.stat().st_size})

    def dbsnap_restore(self):
        manifest = next((self.work / "dbsnap").rglob("*.manifest.json"))
        self.server.drop("restored_a")
        command = [self.binary, "restore", "--from", manifest, "--url", self.server.url("restored_a"), "--mode", "new"]
        self.runs.note("dbsnap restore", timed(command, subprocess.DEVNULL, self.env))

    def pg_restore(self):
        self.server.drop("restored_b")
        self.server.create("restored_b")
        command = [self.server.bin / "pg_restore", "-j2", "-d", self.server.url("restored_b"), self.work / "custom.dump"]
        self.runs.note("pg_restore -j2", timed(command))

    def serve(self):
        """Start to the first 200 of /api/health/ready, on a data folder that exists; then the memory once idle."""
        data, port = fresh(self.work / "data"), free_port()
        env = {**self.env, "PORT": str(port), "HOSTNAME": "127.0.0.1", "DATABASE_PATH": f"{data}/dbsnap.db", "BACKUP_STORAGE_PATH": f"{data}/backups"}
        for turn in range(self.rounds + 1):
            start = time.monotonic()
            with open(self.work / "serve.log", "ab") as log:
                child = subprocess.Popen([self.binary, "serve"], stdout=log, stderr=log, env=env)
            wait_ready(child, port, self.work / "serve.log")
            seconds = time.monotonic() - start
            time.sleep(5)  # idle is what we measure
            figures = {"seconds": seconds, "cpu": 0.0, "peak_mb": memory(child.pid, "VmRSS")}
            child.terminate()
            child.wait()
            if turn:  # the first start also makes the catalogue
                self.runs.note("dbsnap serve", figures)

    # --- the groups ---

    def backups(self):
        contenders = [self.dbsnap_backup, self.pg_dump_custom, self.pg_dump_gzip]
        for turn in range(self.rounds):
            for contender in in_turn(contenders, turn):
                self.server.checkpoint()
                contender("shop")

    def restores(self):
        if "dbsnap backup" not in self.runs:
            self.dbsnap_backup("shop")
            self.pg_dump_custom("shop")
        contenders = [self.dbsnap_restore, self.pg_restore]
        for turn in range(self.rounds):
            for contender in in_turn(contenders, turn):
                self.server.checkpoint()
                contender()
        for database in ("restored_a", "restored_b"):
            if counts(self.server, database) != counts(self.server, "shop"):
                raise SystemExit(f"{database} does not hold the rows of the source")


def wait_ready(child, port, log):
    deadline = time.monotonic() + 30
    request = b"GET /api/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    while time.monotonic() < deadline and child.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(request)
                if b" 200 " in connection.recv(64):
                    return
        except OSError:
            pass
        time.sleep(0.002)
    child.kill()
    raise SystemExit(f"dbsnap serve was not ready:\n{log.read_text()}")


def counts(server, database):
    return [server.ask(database, f"SELECT count(*) FROM {table}") for table in shop_data.TABLES]


def goals(runs):
    goals = Goals()
    if "pg_dump | gzip" in runs:
        ours = runs.median("dbsnap backup")
        for rival in ("pg_dump -Fc", "pg_dump | gzip"):
            goals.figure(f"median: {rival}", f"{runs.median(rival):.2f} s")
        goals.figure("median: dbsnap backup", f"{ours:.2f} s")
        goals.goal("backup time / pg_dump -Fc (aim)", ours / runs.median("pg_dump -Fc"), "", 0.20)
        goals.goal("backup time / pg_dump -Fc (at most)", ours / runs.median("pg_dump -Fc"), "", 0.25)
        goals.figure("backup time / pg_dump | gzip", f"{ours / runs.median('pg_dump | gzip'):.2f}")
        goals.goal("artifact size / pg_dump -Fc", runs.median("dbsnap backup", "bytes") / runs.median("pg_dump -Fc", "bytes"), "", 1.0)
        goals.goal("backup peak memory", runs.peak("dbsnap backup"), " MB", 128)
    if "dbsnap backup, quarter" in runs:
        whole, quarter = runs.median("dbsnap backup", "peak_mb"), runs.median("dbsnap backup, quarter", "peak_mb")
        goals.goal("peak memory, whole / quarter size", whole / quarter, "", 1.15, "flat: <= 1.15")
    if "dbsnap restore" in runs:
        for name in ("pg_restore -j2", "dbsnap restore"):
            goals.figure(f"median: {name}", f"{runs.median(name):.2f} s")
        goals.goal("restore time / pg_restore -j2", runs.median("dbsnap restore") / runs.median("pg_restore -j2"), "", 1.1)
        goals.goal("restore peak memory", runs.peak("dbsnap restore"), " MB", 128)
    if "dbsnap serve" in runs:
        goals.goal("serve: start to ready", runs.median("dbsnap serve") * 1000, " ms", 500)
        goals.goal("serve: idle memory", runs.median("dbsnap serve", "peak_mb"), " MB", 40)
    return goals


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench postgres", description=__doc__)
    arguments(parser, ["backup", "restore", "memory", "serve"])
    parser.add_argument("--pg-bin", default=newest_postgres(), help="folder of initdb, pg_dump and the others")
    options = parser.parse_args()
    size = bytes_of(options.size)

    with tempfile.TemporaryDirectory(prefix="dbsnap-bench-", dir=options.work) as folder:
        work = pathlib.Path(folder)
        with Server(work, options.pg_bin) as server:
            bench = Bench(server, os.path.abspath(options.binary), work, options.rounds)
            about = machine()
            print(f"{about}\n{server.ask('postgres', 'SELECT version()').split(' on ')[0]}", flush=True)
            if options.only != "serve":
                make(server, "shop", size)
            if options.only in (None, "backup"):
                bench.backups()
            if options.only in (None, "memory"):
                make(server, "quarter", size // 4)
                for _ in range(options.rounds):
                    bench.dbsnap_backup("quarter", "dbsnap backup, quarter")
                    bench.dbsnap_backup("shop")
            if options.only in (None, "restore"):
                bench.restores()
            if options.only in (None, "serve"):
                bench.serve()
    reached = goals(bench.runs)
    reached.show()
    keep(options, about, bench.runs, reached)


def make(server, database, size):
    print(f"making a database of about {size / 1e6:.0f} MB", flush=True)
    server.create(database)
    # This data's plain dump takes about 0.76 of the space of its database.
    shop_data.fill(server.psql(database), 0.76 * size)
    print(f"  {database}: {int(server.ask(database, 'SELECT pg_database_size(current_database())')) / 1e6:.0f} MB", flush=True)


def newest_postgres():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return str(found[-1].parent) if found else None


if __name__ == "__main__":
    main()
