#!/usr/bin/env python3
"""Decrypts a file that DBSnap encrypted (.enc), and prints the tables of a snapshot (.snap), without DBSnap.

Needs Python 3.9 or newer and the package `cryptography` (pip install cryptography), and nothing else: it follows
docs/format.md. Compressed dumps are decompressed too; for zstd that takes Python 3.14, the package `zstandard`, or the
program `zstd`. Without any of them the .zst file is written, and what to do with it is said.

    python3 decrypt.py shop_daily_20251116_143022_abc123.dump.zst.enc
    python3 decrypt.py shop_daily_20251116_143022_abc123.snap
    python3 decrypt.py shop_daily_20251116_143022_abc123.snap --table public.users -o users.jsonl

Of a snapshot it lists the tables, one JSON object a line, or prints the rows of one: a JSON object a line, in the order
of their keys. Numbers that JSON would round, times and documents are text as docs/format.md says; bytes are
{"$bytes": hex}. Snapshots need zstd.

The passphrase is the ENCRYPTION_KEY of the instance that wrote the file. It is taken from --passphrase-file, from the
environment variable ENCRYPTION_KEY, from the file that ENCRYPTION_KEY_FILE names, or asked for, in this order.

Exit codes: 0 done; 1 the file is damaged, truncated or not encrypted by DBSnap; 2 something is missing or cannot be
read or written; 3 another passphrase is needed; 4 decrypted, but still compressed (no zstd was found).
"""

import argparse
import getpass
import gzip
import hashlib
import hmac
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib

MAGIC = b"\x89DBSNAP\n"
SNAPSHOT_MAGIC = b"\x89DBROWS\n"
TRAILER = 32
HEADER_MAX = 4096
TAG = 16
PIECE = 1024 * 1024
WINDOW_LOG_MAX = 27

DAMAGED, UNUSABLE, WRONG_KEY, STILL_COMPRESSED = 1, 2, 3, 4


class Failure(Exception):
    """Ends the program with an exit code and a message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def hkdf(key, salt, info):
    """HKDF-SHA256 (RFC 5869) for one block of 32 bytes."""
    extracted = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


class Header:
    """What stands before the first chunk."""

    def __init__(self, file):
        start = file.read(len(MAGIC) + 2)
        if start[: len(MAGIC)] != MAGIC:
            raise Failure(DAMAGED, "this is not a file that DBSnap encrypted, or its beginning is damaged")
        length = int.from_bytes(start[len(MAGIC) :], "big")
        text = file.read(length)
        if len(start) < len(MAGIC) + 2 or length > HEADER_MAX or len(text) < length:
            raise Failure(DAMAGED, "damaged or truncated at byte 0: the header is not whole")
        self.preamble = start + text
        try:
            self.fields = json.loads(text.decode())
            version = self.fields["version"]
        except (ValueError, KeyError, TypeError):
            raise Failure(DAMAGED, "damaged or truncated at byte 0: the header cannot be read")
        if version != 1:
            raise Failure(UNUSABLE, f"file version {version} is not known: use a newer decrypt.py")
        try:
            self.key_id = str(self.fields["keyId"])
            self.iterations = int(self.fields["iterations"])
            self.salt = bytes.fromhex(self.fields["salt"])
            self.file_salt = bytes.fromhex(self.fields["fileSalt"])
            self.chunk_size = int(self.fields["chunkSize"])
            names = (self.fields["cipher"], self.fields["kdf"])
        except (ValueError, KeyError, TypeError):
            raise Failure(DAMAGED, "damaged or truncated at byte 0: the header cannot be read")
        if names != ("AES-256-GCM", "PBKDF2-HMAC-SHA256"):
            raise Failure(UNUSABLE, f"{names[0]} with {names[1]} is not known: use a newer decrypt.py")
        bounds = 100_000 <= self.iterations <= 10_000_000 and 4096 <= self.chunk_size <= 1_048_576
        if not bounds or len(self.salt) != 16 or len(self.file_salt) != 32:
            raise Failure(DAMAGED, "damaged at byte 0: a number in the header is out of bounds")

    def file_key(self, passphrase):
        master = hashlib.pbkdf2_hmac("sha256", passphrase, self.salt, self.iterations)
        key_id = hkdf(master, None, b"dbsnap/v1/key-id")[:4].hex()
        if key_id != self.key_id:
            raise Failure(WRONG_KEY, f"encrypted under key {self.key_id}; the passphrase given makes key {key_id}")
        return hkdf(master, self.file_salt, b"dbsnap/v1/file" + hashlib.sha256(self.preamble).digest())


class Chunks(io.RawIOBase):
    """The authentic bytes of the chunks, as a file to read. Raises Failure where a chunk is not authentic."""

    def __init__(self, file, header, key):
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        super().__init__()
        self.file, self.size = file, header.chunk_size + TAG
        self.cipher = AESGCM(key)
        self.at, self.counter = len(header.preamble), 0
        self.ahead = file.read(self.size)
        self.plain, self.over = memoryview(b""), False

    def readable(self):
        return True

    def readinto(self, target):
        while not self.plain and not self.over:
            self.next_chunk()
        part = self.plain[: len(target)]
        target[: len(part)] = part
        self.plain = self.plain[len(part) :]
        return len(part)

    def next_chunk(self):
        from cryptography.exceptions import InvalidTag

        # A chunk is the last one when nothing follows it; its nonce says so too.
        chunk, self.ahead = self.ahead, self.file.read(self.size)
        last = not self.ahead
        nonce = self.counter.to_bytes(11, "big") + bytes([last])
        try:
            plain = self.cipher.decrypt(nonce, chunk, None)
        except (InvalidTag, ValueError):
            plain = None
        if plain is None or (last and not plain and self.counter):
            raise Failure(DAMAGED, f"damaged or truncated at byte {self.at}: chunk {self.counter} is not authentic")
        self.plain, self.over = memoryview(plain), last
        self.at += len(chunk)
        self.counter += 1


class Snapshot:
    """A snapshot (.snap): docs/format.md, section 6. Every block is proven when it is read."""

    def __init__(self, file, passphrase):
        self.file, self.size = file, file.seek(0, os.SEEK_END)
        self.passphrase = passphrase
        file.seek(0)
        start = file.read(len(SNAPSHOT_MAGIC) + 2)
        length = int.from_bytes(start[len(SNAPSHOT_MAGIC) :], "big")
        text = file.read(length)
        self.preamble = start + text
        if len(start) < len(SNAPSHOT_MAGIC) + 2 or length > HEADER_MAX or len(text) < length:
            raise Failure(DAMAGED, "damaged or truncated at byte 0: the header is not whole")
        try:
            self.header = json.loads(text.decode())
            version, cipher = self.header["version"], self.header["cipher"]
        except (ValueError, KeyError, TypeError):
            raise Failure(DAMAGED, "damaged or truncated at byte 0: the header cannot be read")
        if version != 1 or cipher not in ("none", "AES-256-GCM"):
            raise Failure(UNUSABLE, f"snapshot version {version} with {cipher} is not known: use a newer decrypt.py")

    def open(self):
        self.cipher = None
        if self.header["cipher"] != "none":
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self.cipher = AESGCM(self.key(self.passphrase()))
        self.check = hashlib.sha256(self.preamble).digest()
        self.file.seek(max(self.size - TRAILER, 0))
        trailer = self.file.read(TRAILER)
        numbers = [int.from_bytes(trailer[at:end], "big") for at, end in ((0, 8), (8, 16), (16, 20), (20, 24))]
        offset, number, stored, plain = numbers
        if self.size < TRAILER + len(self.preamble) or trailer[24:] != SNAPSHOT_MAGIC or offset + stored != self.size - TRAILER:
            raise Failure(DAMAGED, "damaged or truncated: the end of the snapshot is missing")
        self.footer = json.loads(self.block((number, offset, stored, plain), True))
        where = self.footer["schema"]
        self.schema = json.loads(self.block(tuple(where[name] for name in ("number", "offset", "stored", "plain"))))

    def key(self, passphrase):
        try:
            salt, file_salt = (bytes.fromhex(self.header[name]) for name in ("salt", "fileSalt"))
            iterations, expected, kdf = (self.header[name] for name in ("iterations", "keyId", "kdf"))
            if not 100_000 <= iterations <= 10_000_000 or len(salt) != 16 or len(file_salt) != 32:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise Failure(DAMAGED, "damaged at byte 0: the header cannot be read")
        if kdf != "PBKDF2-HMAC-SHA256":
            raise Failure(UNUSABLE, f"{kdf} is not known: use a newer decrypt.py")
        master = hashlib.pbkdf2_hmac("sha256", passphrase, salt, iterations)
        key_id = hkdf(master, None, b"dbsnap/v1/key-id")[:4].hex()
        if key_id != expected:
            raise Failure(WRONG_KEY, f"encrypted under key {expected}; the passphrase given makes key {key_id}")
        return hkdf(master, file_salt, b"dbsnap/v1/snapshot" + hashlib.sha256(self.preamble).digest())

    def block(self, reference, footer=False):
        number, offset, stored, plain_length = reference
        self.file.seek(offset)
        block = self.file.read(min(stored, self.size))
        nonce = number.to_bytes(11, "big") + bytes([footer])
        if self.cipher is not None:
            from cryptography.exceptions import InvalidTag

            try:
                frame = self.cipher.decrypt(nonce, block, None)
            except (InvalidTag, ValueError):
                frame = None
        else:
            frame, check = block[:-TAG], block[-TAG:]
            if hashlib.sha256(self.check + nonce + frame).digest()[:TAG] != check:
                frame = None
        if frame is None or plain_length > 32768 * len(frame):
            raise Failure(DAMAGED, f"damaged or truncated at byte {offset}: block {number} is not authentic")
        plain = unzstd(frame, plain_length)
        if len(plain) != plain_length:
            raise Failure(DAMAGED, f"damaged at byte {offset}: block {number} does not decompress to its length")
        return plain

    def tables(self):
        for entry in self.footer["tables"]:
            yield {name: entry[name] for name in ("schema", "name", "rows", "distinct", "seen", "sample") if name in entry}

    def rows(self, wanted):
        """The rows of a table as objects. Equal rows of a table without a key come as often as they are there."""
        full = lambda table: ".".join(filter(None, (table.get("schema"), table["name"])))
        entry = next((entry for entry in self.footer["tables"] if full(entry) == wanted), None)
        if entry is None:
            names = ", ".join(full(entry) for entry in self.footer["tables"])
            raise Failure(UNUSABLE, f"there is no table {wanted} in this snapshot, but: {names}")
        table = next(table for table in self.schema["tables"] if full(table) == wanted)
        if entry["block"] is not None:
            top = tuple(entry["block"][name] for name in ("number", "offset", "stored", "plain"))
            for key, value in self.pairs(top, entry["level"]):
                yield from row_objects(table, key, value)

    def pairs(self, reference, level):
        plain, at = self.block(reference), 0
        if level == 0:
            while at < len(plain):
                key, at = sized(plain, at)
                value, at = sized(plain, at)
                yield key, value
            return
        if plain[:1] != bytes([level]):
            raise Failure(DAMAGED, "damaged: a part of the index does not belong where it stands")
        at = 1
        while at < len(plain):
            _, at = sized(plain, at)
            for _ in range(4):
                _, at = varint(plain, at)
            at += 32
            child = []
            for _ in range(4):
                number, at = varint(plain, at)
                child.append(number)
            yield from self.pairs(tuple(child), level - 1)


def varint(data, at):
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Failure(DAMAGED, "damaged: a number in a row is cut")
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return number, at


def sized(data, at):
    length, at = varint(data, at)
    if at + length > len(data):
        raise Failure(DAMAGED, "damaged: a value in a row is cut")
    return data[at : at + length], at + length


def key_parts(key):
    """The values in a key, as bytes."""
    at = 0
    while at < len(key):
        tag, at = key[at], at + 1
        if tag == 0x10:
            length = abs(key[at] - 0x80)
            digits = key[at + 1 : at + 1 + length]
            number = int.from_bytes(bytes(255 - byte for byte in digits) if key[at] < 0x80 else digits, "big")
            yield str(-number if key[at] < 0x80 else number).encode()
            at += 1 + length
        elif tag == 0x30:
            digits = key[at : at + 16].hex()
            yield "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])).encode()
            at += 16
        elif tag == 0x20:
            value = bytearray()
            while True:
                end = key.index(0, at)
                value += key[at:end]
                at = end + 1
                if key[at : at + 1] != b"\xff":
                    break
                value += b"\0"
                at += 1
            yield bytes(value)
        else:
            raise Failure(DAMAGED, "damaged: a row's key cannot be read")


def row_objects(table, key, value):
    columns = [column for column in table["columns"] if column.get("generated") is None]
    names = table["key"].get("columns", [])
    cells, times, at = {}, 1, 0
    if names:
        cells.update(zip(names, key_parts(key)))
    else:
        times, at = varint(value, 0)
    classes = {column["name"]: column["class"] for column in columns}
    stored = [name for name in classes if name not in names or classes[name] in ("any", "bson")]
    bitmap, at = value[at : at + (len(stored) + 7) // 8], at + (len(stored) + 7) // 8
    for index, name in enumerate(stored):
        if bitmap[index // 8] >> index % 8 & 1:
            cells[name] = None
        else:
            cells[name], at = sized(value, at)
    row = {name: json_value(classes[name], cells[name]) for name in classes}
    for _ in range(times):
        yield row


def json_value(kind, cell):
    if cell is None:
        return None
    if kind == "any":
        kind, cell = {b"i": "integer", b"r": "float", b"t": "text", b"b": "bytes"}[cell[:1]], cell[1:]
    try:
        if kind == "integer":
            return int(cell)
        if kind == "boolean":
            return {b"t": True, b"f": False}[cell]
        if kind not in ("bytes", "bson"):
            return cell.decode()
    except (ValueError, KeyError):
        pass
    return {"$bytes": cell.hex()}


def unzstd(frame, length):
    """One frame of at most `length` bytes."""
    try:
        from compression import zstd

        return zstd.decompress(frame)
    except ImportError:
        pass
    try:
        import zstandard

        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=length)
    except ImportError:
        pass
    program = shutil.which("zstd")
    if not program:
        raise Failure(UNUSABLE, "no zstd was found: pip install zstandard, or install the program zstd")
    return subprocess.run([program, "--decompress", "--stdout", "--quiet"], input=frame, stdout=subprocess.PIPE, check=False).stdout


def show_snapshot(args, file):
    snapshot = Snapshot(file, lambda: passphrase_of(args))
    if args.info:
        print(json.dumps(snapshot.header, indent=2))
        return 0
    snapshot.open()
    if args.schema:
        lines = [snapshot.schema]
    else:
        lines = snapshot.rows(args.table) if args.table else snapshot.tables()
    if not args.output:
        for line in lines:
            print(json.dumps(line, ensure_ascii=False))
        return 0
    check_free(args.output, args.force)
    handle, unfinished = tempfile.mkstemp(prefix=".decrypt-", suffix=".unfinished", dir=os.path.dirname(args.output) or ".")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as target:
            for line in lines:
                target.write(json.dumps(line, ensure_ascii=False) + "\n")
            target.flush()
            os.fsync(target.fileno())
        os.replace(unfinished, args.output)
    except BaseException:
        os.unlink(unfinished)
        raise
    print(args.output)
    return 0


def copy(source, target):
    while True:
        piece = source.read(PIECE)
        if not piece:
            return
        target.write(piece)


def zstd_reader(source):
    """A file that reads `source` decompressed; None when neither Python nor a package can."""
    try:
        from compression import zstd

        return zstd.ZstdFile(source, options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX})
    except ImportError:
        pass
    try:
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG_MAX).stream_reader(source, read_across_frames=True)
    except ImportError:
        return None


def unzstd_by_program(program, source, target):
    target.flush()
    command = [program, "--decompress", "--stdout", "--quiet", f"--long={WINDOW_LOG_MAX}"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=target)
    try:
        copy(source, child.stdin)
        child.stdin.close()
    except BrokenPipeError:
        pass
    except BaseException:
        child.kill()
        child.wait()
        raise
    if child.wait() != 0:
        raise Failure(DAMAGED, f"{program} could not decompress the decrypted bytes")
    target.seek(0, os.SEEK_END)


def unpack(source, target, keep):
    """Writes what `source` holds, decompressed where possible. Returns the extension that is left of it."""
    head = source.peek(4)[:4]
    if not keep and head[:2] == b"\x1f\x8b":
        copy(gzip.GzipFile(fileobj=source), target)
        return ""
    if head == b"\x28\xb5\x2f\xfd":
        program = None if keep else shutil.which("zstd")
        reader = None if keep else zstd_reader(source)
        if reader is not None:
            try:
                copy(reader, target)
            except (Failure, OSError):
                raise
            except Exception as error:  # The zstd modules have error types of their own.
                raise Failure(DAMAGED, f"the decrypted bytes cannot be decompressed: {error}")
        elif program:
            unzstd_by_program(program, source, target)
        else:
            copy(source, target)
            return ".zst"
        return ""
    copy(source, target)
    return ".gz" if head[:2] == b"\x1f\x8b" else ""


def passphrase_of(args):
    path = args.passphrase_file
    if path is None and "ENCRYPTION_KEY" in os.environ:
        return os.fsencode(os.environ["ENCRYPTION_KEY"])
    path = path or os.environ.get("ENCRYPTION_KEY_FILE")
    if path is not None:
        with open(path, "rb") as file:
            return file.read().rstrip(b"\r\n")
    if not sys.stdin.isatty():
        raise Failure(UNUSABLE, "no passphrase: give --passphrase-file or set ENCRYPTION_KEY")
    return getpass.getpass("ENCRYPTION_KEY: ").encode()


def plain_name(path, left):
    """The name of the output: the input's without the extensions of the layers that were taken off."""
    name = path[: -len(".enc")] if path.endswith(".enc") else path + ".plain"
    for extension in (".zst", ".gz"):
        if name.endswith(extension):
            name = name[: -len(extension)]
    return name + left


def check_free(path, force):
    if not force and os.path.lexists(path):
        raise Failure(UNUSABLE, f"{path} exists already: give another name with -o, or --force")


def decrypt(args):
    with open(args.file, "rb") as file:
        if file.read(len(SNAPSHOT_MAGIC)) == SNAPSHOT_MAGIC:
            return show_snapshot(args, file)
        file.seek(0)
        header = Header(file)
        if args.info:
            print(json.dumps(header.fields, indent=2))
            return 0
        goal = args.output or plain_name(args.file, "")
        check_free(goal, args.force)
        source = io.BufferedReader(Chunks(file, header, header.file_key(passphrase_of(args))), PIECE)
        # Under a name that nobody takes for the result, until every byte has proven authentic.
        handle, unfinished = tempfile.mkstemp(prefix=".decrypt-", suffix=".unfinished", dir=os.path.dirname(goal) or ".")
        try:
            with os.fdopen(handle, "wb") as target:
                left = unpack(source, target, args.keep_compressed)
                if source.read(1):
                    raise Failure(DAMAGED, "bytes follow the end of the compressed data")
                target.flush()
                os.fsync(target.fileno())
            # With --keep-compressed a name that was given is taken as it is.
            if left and not (args.keep_compressed and args.output):
                goal += left
                check_free(goal, args.force)
            os.replace(unfinished, goal)
        except BaseException:
            os.unlink(unfinished)
            raise
    print(goal)
    if left and not args.keep_compressed:
        print(f"decrypt.py: still compressed, because no zstd was found. Install it, then: zstd -d '{goal}'", file=sys.stderr)
        return STILL_COMPRESSED
    return 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="Exit codes: 0 done; 1 damaged or truncated; 2 something is missing; 3 another passphrase is needed; 4 still compressed.",
    )
    parser.add_argument("file", help="the encrypted file (.enc), or a snapshot (.snap)")
    parser.add_argument("-o", "--output", help="where to write; by default beside the file, without .enc and .zst or .gz")
    parser.add_argument("--passphrase-file", help="a file that holds the ENCRYPTION_KEY")
    parser.add_argument("--keep-compressed", action="store_true", help="only decrypt")
    parser.add_argument("--table", help="of a snapshot: print the rows of this table, as JSON lines; by default the tables are listed")
    parser.add_argument("--schema", action="store_true", help="of a snapshot: print the schema as JSON")
    parser.add_argument("--force", action="store_true", help="overwrite the output if it exists")
    parser.add_argument("--info", action="store_true", help="show the header, which needs no passphrase, and stop")
    try:
        return decrypt(parser.parse_args())
    except Failure as failure:
        message, code = failure, failure.code
    except ImportError as error:
        message, code = f"{error}: pip install cryptography", UNUSABLE
    except (zlib.error, gzip.BadGzipFile, EOFError) as error:
        message, code = f"the decrypted bytes cannot be decompressed: {error}", DAMAGED
    except OSError as error:
        message, code = error, UNUSABLE
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        message, code = f"damaged: the file cannot be read ({error!r})", DAMAGED
    print(f"decrypt.py: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
