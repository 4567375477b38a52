"""Times a MongoDB dump beside a reader of the same cursors that writes nothing, on one machine, in one run. Called by scripts/bench.

The server is the one that the tests use (DocumentDB behind a front end): it is slower than MongoDB, so its reading is most of the
time. What DBSnap adds to it is what the ratio shows.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import bson
import pymongo
from bson.raw_bson import RawBSONDocument

import shop_data
from harness import KEY, Goals, Runs, arguments, as_nobody, bytes_of, free_port, fresh, in_turn, keep, machine, stored, timed

PASSWORD = "bench-only"
FRONT = pathlib.Path(__file__).parent.parent / "tests/peers/mongo_front.py"


class Server:
    """DocumentDB of our own, its front end before it; its folder is removed at the end."""

    def __init__(self, folder, programs):
        self.programs, self.data, self.folder = pathlib.Path(programs), folder / "data", folder
        self.inner, self.port = free_port(), free_port()
        folder.chmod(0o755)
        self.sockets = folder / "sockets"
        for made in (self.data, self.sockets):
            made.mkdir()
            if not os.getuid():
                shutil.chown(made, "nobody", "nogroup")
        self.log = open(folder / "server.log", "wb")
        init = [*as_nobody(), self.programs / "initdb", "--username=postgres", "--auth=trust", "--locale=C.UTF-8", "-D", self.data]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL)

    def __enter__(self):
        options = {
            # DocumentDB connects to its own server when it makes a collection.
            "listen_addresses": "127.0.0.1",
            "port": self.inner,
            "shared_buffers": "512MB",
            "max_wal_size": "4GB",
            "shared_preload_libraries": "pg_cron,pg_documentdb_core,pg_documentdb,pg_documentdb_extended_rum",
            "cron.database_name": "postgres",
            "cron.host": "127.0.0.1",
            "unix_socket_directories": self.sockets,
        }
        command = [*as_nobody(), self.programs / "postgres", "-D", self.data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.database = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.wait(lambda: subprocess.run([*self.psql(), "-c", "SELECT 1"], capture_output=True).returncode == 0)
        roles = [{"role": role, "db": "admin"} for role in ("clusterAdmin", "readWriteAnyDatabase")]
        user = json.dumps({"createUser": "bench", "pwd": PASSWORD, "roles": roles})
        make = ["-c", "SET client_min_messages = error", "-c", "CREATE EXTENSION documentdb CASCADE", "-c", f"SELECT documentdb_api.create_user('{user}')"]
        subprocess.run([*self.psql(), *make], check=True, stdout=subprocess.DEVNULL)
        front = [sys.executable, FRONT, f"host={self.sockets} port={self.inner} user=postgres dbname=postgres", str(self.port)]
        self.front = subprocess.Popen(front, stdout=self.log, stderr=self.log)
        self.client = pymongo.MongoClient(self.url("admin"), document_class=RawBSONDocument, serverSelectionTimeoutMS=30000)
        self.wait(lambda: self.client.admin.command("ping"))
        return self

    def wait(self, ready):
        deadline = time.monotonic() + 60
        while not ready():
            if time.monotonic() > deadline:
                raise SystemExit(f"the server did not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.1)

    def __exit__(self, *_):
        self.front.terminate()
        self.front.wait()
        self.database.send_signal(2)
        self.database.wait()

    def psql(self):
        return [self.programs / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h", self.sockets, "-p", str(self.inner)]

    def url(self, database):
        return f"mongodb://bench:{PASSWORD}@127.0.0.1:{self.port}/{database}?authSource=admin&directConnection=true"


def fill(server, database, size):
    """Events of the shop as documents, until they take `size` bytes. Returns the bytes of their BSON."""
    collection = server.client[database]["events"]
    source, written, n = shop_data.source(), 0, 0
    while written < size:
        documents = []
        for line in (shop_data.event(source, n + i) for i in range(1, 1001)):
            number, user, kind, moment, session, payload, message = line.rstrip("\n").split("\t")
            documents.append({"_id": int(number), "user": int(user), "kind": kind, "at": moment, "session": session, "payload": json.loads(payload), "message": message})
        raw = [RawBSONDocument(bson.encode(document)) for document in documents]
        collection.insert_many(raw, ordered=False)
        written += sum(len(document.raw) for document in raw)
        n += 1000
    return written


class Bench:
    def __init__(self, server, binary, work, rounds):
        self.server, self.binary, self.work, self.rounds = server, binary, work, rounds
        self.env = {**os.environ, "ENCRYPTION_KEY": KEY}
        self.runs = Runs()

    def dbsnap_backup(self, database="shop", label="dbsnap backup"):
        out = fresh(self.work / "dbsnap")
        figures = timed([self.binary, "backup", "--url", self.server.url(database), "--to", out, "--artifacts", "dump"], subprocess.DEVNULL, self.env)
        self.runs.note(label, {**figures, "bytes": stored(out)})

    def reader(self):
        """Raw batches by pymongo: no document is decoded, nothing is kept."""
        script = f"import pymongo\nfor batch in pymongo.MongoClient({self.server.url('shop')!r})['shop']['events'].find_raw_batches(): pass"
        self.runs.note("reading alone", timed([sys.executable, "-c", script]))

    def dbsnap_restore(self):
        manifest = next((self.work / "dbsnap").rglob("*.manifest.json"))
        self.server.client.drop_database("restored")
        command = [self.binary, "restore", "--from", manifest, "--url", self.server.url("restored"), "--mode", "new"]
        self.runs.note("dbsnap restore", timed(command, subprocess.DEVNULL, self.env))

    def backups(self):
        for turn in range(self.rounds):
            for contender in in_turn([self.dbsnap_backup, self.reader], turn):
                contender()


def goals(runs, size):
    goals = Goals()
    if "reading alone" in runs:
        ours, reading = runs.median("dbsnap backup"), runs.median("reading alone")
        goals.figure("reading the cursor alone", f"{size / 1e6 / reading:.0f} MB/s")
        goals.figure("dbsnap backup", f"{size / 1e6 / ours:.0f} MB/s")
        goals.goal("backup time / reading alone", ours / reading, "", 1.25)
        goals.goal("backup peak memory", runs.peak("dbsnap backup"), " MB", 128)
    if "dbsnap backup, quarter" in runs:
        whole, quarter = runs.median("dbsnap backup", "peak_mb"), runs.median("dbsnap backup, quarter", "peak_mb")
        goals.goal("peak memory, whole / quarter size", whole / quarter, "", 1.15, "flat: <= 1.15")
    if "dbsnap restore" in runs:
        goals.figure("dbsnap restore", f"{size / 1e6 / runs.median('dbsnap restore'):.0f} MB/s")
        goals.goal("restore peak memory", runs.peak("dbsnap restore"), " MB", 128)
    return goals


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench mongodb", description=__doc__)
    arguments(parser, ["backup", "restore", "memory"])
    parser.add_argument("--programs", required=True, help="folder of a PostgreSQL with DocumentDB")
    options = parser.parse_args()
    size = bytes_of(options.size)

    with tempfile.TemporaryDirectory(prefix="dbsnap-bench-", dir=options.work) as folder:
        work = pathlib.Path(folder)
        with Server(work, options.programs) as server:
            bench = Bench(server, os.path.abspath(options.binary), work, options.rounds)
            about = machine()
            print(f"{about}\nmaking documents of about {size / 1e6:.0f} MB", flush=True)
            written = fill(server, "shop", size)
            if options.only in (None, "backup"):
                bench.backups()
            if options.only in (None, "memory"):
                fill(server, "quarter", size // 4)
                for _ in range(options.rounds):
                    bench.dbsnap_backup("quarter", "dbsnap backup, quarter")
                    bench.dbsnap_backup()
            if options.only in (None, "restore"):
                if "dbsnap backup" not in bench.runs:
                    bench.dbsnap_backup()
                for _ in range(options.rounds):
                    bench.dbsnap_restore()
    reached = goals(bench.runs, written)
    reached.show()
    keep(options, about, bench.runs, reached)


if __name__ == "__main__":
    main()
