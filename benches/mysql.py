"""Times DBSnap beside mysqldump with gzip and mydumper on one machine, in one run, on one database. Called by scripts/bench."""

import argparse
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import shop_data
from harness import KEY, Goals, Runs, arguments, as_nobody, bytes_of, free_port, fresh, in_turn, keep, machine, stored, timed

PASSWORD = "bench"


class Server:
    """A MariaDB of our own with its default durability; its folder is removed at the end."""

    def __init__(self, folder, programs):
        self.programs, self.data, self.port = pathlib.Path(programs), folder / "data", free_port()
        self.log = folder / "server.log"
        folder.chmod(0o755)
        self.data.mkdir()
        if not os.getuid():
            shutil.chown(self.data, "nobody", "nogroup")
        # An unpacked server knows its folders from these alone.
        usr = self.programs.parent / "usr"
        share = next((folder for folder in (usr / "share/mariadb", usr / "share/mysql") if (folder / "charsets").is_dir()), None)
        unpacked = [f"--plugin-dir={usr}/lib/mysql/plugin", f"--lc-messages-dir={share}", f"--character-sets-dir={share}/charsets"] if share else []
        self.options = ["--no-defaults", *([f"--basedir={usr}"] if share else []), f"--datadir={self.data}", *unpacked]
        install = [self.programs / "mariadb-install-db", *self.options[:3], "--skip-test-db", "--auth-root-authentication-method=normal"]
        run = subprocess.run([*as_nobody(), *install], capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(f"mariadb-install-db failed:\n{run.stdout}{run.stderr}")
        self.config = folder / "client.cnf"
        self.config.write_text(f"[client]\nuser=bench\npassword={PASSWORD}\nhost=127.0.0.1\nport={self.port}\n")

    def __enter__(self):
        options = [*self.options, f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.data}/s"]
        options += ["--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M", "--local-infile=ON"]
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen([*as_nobody(), self.programs / "mariadbd", *options], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while subprocess.run([*self.root(), "-e", "SELECT 1"], capture_output=True).returncode:
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"MariaDB did not start:\n{self.log.read_text()}")
            time.sleep(0.1)
        subprocess.run([*self.root(), "-e", f"CREATE USER bench@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO bench@'%'"], check=True)
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()

    def root(self):
        return [self.programs / "mariadb", "--no-defaults", "-uroot", f"--socket={self.data}/s"]

    def client(self, program, *args):
        return [self.programs / program, f"--defaults-file={self.config}", *args]

    def url(self, database):
        return f"mysql://bench:{PASSWORD}@127.0.0.1:{self.port}/{database}?tlsMode=off"

    def ask(self, database, sql):
        return subprocess.run(self.client("mariadb", "-BN", "-e", sql, database), check=True, capture_output=True, text=True).stdout.strip()


class Bench:
    def __init__(self, server, binary, work, rounds):
        self.server, self.binary, self.work, self.rounds = server, binary, work, rounds
        self.env = {**os.environ, "ENCRYPTION_KEY": KEY, "MYSQL_BIN_DIRS": str(server.programs)}
        self.runs = Runs()

    def dbsnap_backup(self, database="shop", label="dbsnap backup"):
        out = fresh(self.work / "dbsnap")
        figures = timed([self.binary, "backup", "--url", self.server.url(database), "--to", out, "--artifacts", "dump"], subprocess.DEVNULL, self.env)
        self.runs.note(label, {**figures, "bytes": stored(out)})

    def mysqldump_gzip(self):
        out = self.work / "plain.sql.gz"
        dump = " ".join(str(part) for part in self.server.client("mariadb-dump", "--single-transaction", "--quick", "--routines", "--events", "--hex-blob", "shop"))
        figures = timed(["bash", "-c", f"set -o pipefail; {dump} | gzip > '{out}'"])
        self.runs.note("mysqldump | gzip", {**figures, "bytes": out.stat().st_size})

    def mydumper(self):
        out = fresh(self.work / "mydumper")
        connection = ["-h", "127.0.0.1", "-P", str(self.server.port), "-u", "bench", "-p", PASSWORD]
        figures = timed(["mydumper", *connection, "-B", "shop", "-t", "2", "-c", "-R", "-E", "-G", "-o", out])
        self.runs.note("mydumper -t2 -c", {**figures, "bytes": sum(path.stat().st_size for path in out.iterdir())})

    def dbsnap_restore(self):
        manifest = next((self.work / "dbsnap").rglob("*.manifest.json"))
        self.server.ask("shop", "DROP DATABASE IF EXISTS restored_a")
        command = [self.binary, "restore", "--from", manifest, "--url", self.server.url("restored_a"), "--mode", "new"]
        self.runs.note("dbsnap restore", timed(command, subprocess.DEVNULL, self.env))

    def mysql_pipe(self):
        self.server.ask("shop", "DROP DATABASE IF EXISTS restored_b; CREATE DATABASE restored_b")
        load = " ".join(str(part) for part in self.server.client("mariadb", "restored_b"))
        self.runs.note("gunzip | mysql", timed(["bash", "-c", f"set -o pipefail; gunzip -c '{self.work}/plain.sql.gz' | {load}"]))

    def backups(self):
        for turn in range(self.rounds):
            for contender in in_turn([self.dbsnap_backup, self.mysqldump_gzip, self.mydumper], turn):
                os.sync()
                contender()

    def restores(self):
        if "dbsnap backup" not in self.runs:
            self.dbsnap_backup()
            self.mysqldump_gzip()
        for turn in range(self.rounds):
            for contender in in_turn([self.dbsnap_restore, self.mysql_pipe], turn):
                os.sync()
                contender()
        for database in ("restored_a", "restored_b"):
            if counts(self.server, database) != counts(self.server, "shop"):
                raise SystemExit(f"{database} does not hold the rows of the source")


def counts(server, database):
    return [server.ask(database, f"SELECT count(*) FROM {table}") for table in shop_data.TABLES]


def make(server, database, size):
    print(f"making a database of about {size / 1e6:.0f} MB", flush=True)
    server.ask("mysql", f"CREATE DATABASE {database}")
    # This data's dump takes about 0.76 of the space of its database.
    shop_data.fill_mysql(server.client("mariadb", "--local-infile=1", database), 0.76 * size)
    used = server.ask(database, "SELECT sum(data_length + index_length) FROM information_schema.tables WHERE table_schema = database()")
    print(f"  {database}: {int(used) / 1e6:.0f} MB", flush=True)


def goals(runs):
    goals = Goals()
    if "mysqldump | gzip" in runs and "mydumper -t2 -c" in runs:
        ours = runs.median("dbsnap backup")
        for name in ("mysqldump | gzip", "mydumper -t2 -c", "dbsnap backup"):
            goals.figure(f"median: {name}", f"{runs.median(name):.2f} s")
        goals.goal("backup time / mysqldump | gzip", ours / runs.median("mysqldump | gzip"), "", 0.30)
        goals.figure("backup time / mydumper -t2 -c", f"{ours / runs.median('mydumper -t2 -c'):.2f}")
        goals.goal("artifact size / mysqldump | gzip", runs.median("dbsnap backup", "bytes") / runs.median("mysqldump | gzip", "bytes"), "", 0.95)
        goals.goal("backup peak memory", runs.peak("dbsnap backup"), " MB", 128)
    if "dbsnap backup, quarter" in runs:
        whole, quarter = runs.median("dbsnap backup", "peak_mb"), runs.median("dbsnap backup, quarter", "peak_mb")
        goals.goal("peak memory, whole / quarter size", whole / quarter, "", 1.15, "flat: <= 1.15")
    if "dbsnap restore" in runs:
        for name in ("gunzip | mysql", "dbsnap restore"):
            goals.figure(f"median: {name}", f"{runs.median(name):.2f} s")
        goals.figure("restore time / gunzip | mysql", f"{runs.median('dbsnap restore') / runs.median('gunzip | mysql'):.2f}")
        goals.goal("restore peak memory", runs.peak("dbsnap restore"), " MB", 128)
    return goals


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench mysql", description=__doc__)
    arguments(parser, ["backup", "restore", "memory"])
    parser.add_argument("--programs", required=True, help="folder of mariadbd, mariadb-install-db, mariadb and mariadb-dump")
    options = parser.parse_args()
    size = bytes_of(options.size)
    if not shutil.which("mydumper"):
        raise SystemExit("mydumper is missing: apt-get install mydumper")

    with tempfile.TemporaryDirectory(prefix="dbsnap-bench-", dir=options.work) as folder:
        work = pathlib.Path(folder)
        with Server(work, options.programs) as server:
            bench = Bench(server, os.path.abspath(options.binary), work, options.rounds)
            about = machine()
            print(f"{about}\nMariaDB {server.ask('mysql', 'SELECT version()')}", flush=True)
            make(server, "shop", size)
            if options.only in (None, "backup"):
                bench.backups()
            if options.only in (None, "memory"):
                make(server, "quarter", size // 4)
                for _ in range(options.rounds):
                    bench.dbsnap_backup("quarter", "dbsnap backup, quarter")
                    bench.dbsnap_backup()
            if options.only in (None, "restore"):
                bench.restores()
    reached = goals(bench.runs)
    reached.show()
    keep(options, about, bench.runs, reached)


if __name__ == "__main__":
    main()
