"""A MongoDB server for tests: the wire protocol in front of PostgreSQL with the DocumentDB extension.

Usage: mongo_front.py DSN PORT [--tls-cert FILE --tls-key FILE [--tls-ca FILE]]

Listens on 127.0.0.1:PORT. Every command but the handshake needs a login (SCRAM-SHA-256). With --tls-ca, clients must show a
certificate of that authority. Writes "ready" to its output when it accepts connections.

One PostgreSQL connection per client; cursors stay with the connection that opened them. Not there: capped and time-series
collections, collation, change streams, transactions, replica sets. Sessions are accepted but do not isolate.
Sources: the MongoDB wire protocol specification; the SQL functions of the documentdb_api schema.
"""

import argparse
import base64
import datetime
import itertools
import os
import socket
import socketserver
import ssl
import struct
import threading
import time

import bson
import psycopg
from bson import Binary
from bson.raw_bson import RawBSONDocument

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
CHECKSUM_PRESENT, MORE_TO_COME = 1, 2

# SQLSTATE to MongoDB's error code and its name; whatever is not here is answered as InternalError.
ERRORS = {
    "23505": (11000, "DuplicateKey"),
    # The extension's own state, of unique indexes.
    "M001C": (11000, "DuplicateKey"),
    "42P01": (26, "NamespaceNotFound"),
    "57014": (50, "MaxTimeMSExpired"),
    "42501": (13, "Unauthorized"),
    "23514": (121, "DocumentValidationFailure"),
}
INTERNAL = (1, "InternalError")

# Commands that open a cursor, and those that are one function of the whole command.
CURSORS = {
    "find": "find_cursor_first_page",
    "aggregate": "aggregate_cursor_first_page",
    "listcollections": "list_collections_cursor_first_page",
    "listindexes": "list_indexes_cursor_first_page",
}
ADMINISTRATION = {
    "createuser": "create_user",
    "dropuser": "drop_user",
    "updateuser": "update_user",
    "usersinfo": "users_info",
    "createrole": "create_role",
    "rolesinfo": "roles_info",
    "listdatabases": "list_databases",
    "killop": "kill_op",
}
# What a user that may only read must not run.
WRITES = {
    "insert", "update", "delete", "findandmodify", "createindexes", "dropindexes", "deleteindexes", "create", "collmod", "drop",
    "dropdatabase", "renamecollection", "createuser", "dropuser", "updateuser", "createrole", "killop",
}

numbers = itertools.count(1)
cursors = {}  # cursor id: (Database, continuation)
cursors_lock = threading.Lock()


class Refused(Exception):
    """A command's error as the client gets it."""

    def __init__(self, code, name, message):
        super().__init__(message)
        self.answer = {"ok": 0.0, "errmsg": message, "code": code, "codeName": name}


class Database:
    """A client's connection to PostgreSQL."""

    def __init__(self, dsn):
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.lock = threading.RLock()
        self.connection.execute("SET search_path = documentdb_api_catalog, documentdb_api, documentdb_core, public")
        self.connection.execute("SET documentdb_core.bsonUseEJson = off")

    def row(self, sql, *values):
        with self.lock:
            return self.connection.execute(sql, values, binary=True).fetchone()

    def execute(self, sql):
        with self.lock:
            self.connection.execute(sql)

    def document(self, sql, *values):
        """The one BSON document that a statement returns, as bytes."""
        return bytes(self.row(sql, *values)[0])


def error_of_packed(number):
    """DocumentDB packs a SQLSTATE into the codes of write and index errors: six bits a letter."""
    return ERRORS.get("".join(chr(((number >> (6 * at)) & 63) + 48) for at in range(5)), INTERNAL)


def with_public_codes(value):
    if isinstance(value, dict):
        if isinstance(value.get("code"), int) and value["code"] > 10_000_000:
            value["code"], value["codeName"] = error_of_packed(value["code"])
        for inner in value.values():
            with_public_codes(inner)
    elif isinstance(value, list):
        for inner in value:
            with_public_codes(inner)
    return value


def hello(command):
    answer = {
        "isWritablePrimary": True,
        "ismaster": True,
        "helloOk": True,
        "maxBsonObjectSize": 16 << 20,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 25_000,
        "localTime": datetime.datetime.now(datetime.timezone.utc),
        "logicalSessionTimeoutMinutes": 30,
        "connectionId": next(numbers),
        "minWireVersion": 0,
        "maxWireVersion": 21,
        "readOnly": False,
        "ok": 1.0,
    }
    if command.get("saslSupportedMechs"):
        answer["saslSupportedMechs"] = ["SCRAM-SHA-256"]
    return answer


class Client(socketserver.BaseRequestHandler):
    """A client's connection, from its first byte to its last."""

    def setup(self):
        self.database = None
        self.user = None
        self.roles = []
        self.exchange = None  # of the login: (user, the client's first message, the server's first message)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle(self):
        try:
            if self.server.tls:
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
            while True:
                length, request_id, _, opcode = struct.unpack("<iiii", self.read(16))
                if not self.answer(request_id, opcode, self.read(length - 16)):
                    return
        except (EOFError, OSError):
            pass  # The client is gone, or did not agree on TLS.
        finally:
            with cursors_lock:
                used = any(database is self.database for database, _ in cursors.values())
            if self.database and not used:
                self.database.connection.close()

    def read(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.request.recv(min(1 << 20, count - len(data)))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def answer(self, request_id, opcode, body):
        """Runs one message and answers it; False when the connection cannot go on."""
        if opcode == OP_MSG:
            flags = struct.unpack_from("<I", body)[0]
            document, sequences = sections(body, 4, len(body) - (4 if flags & CHECKSUM_PRESENT else 0))
            result = self.run(document, sequences)
            if flags & MORE_TO_COME:
                return True
            opcode, message = OP_MSG, b"\0\0\0\0\0" + result
        elif opcode == OP_QUERY:  # The handshake of drivers that do not know yet what the server speaks.
            at = body.index(b"\0", 4) + 9
            result = self.run(body[at : at + struct.unpack_from("<i", body, at)[0]], {})
            opcode, message = OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + result
        else:
            return False
        self.request.sendall(struct.pack("<iiii", 16 + len(message), next(numbers) & 0x7FFFFFFF, request_id, opcode) + message)
        return True

    def run(self, document, sequences):
        """The answer to a command, as BSON, also when it fails."""
        try:
            result = self.command(document, sequences)
        except Refused as error:
            result = error.answer
        except psycopg.Error as error:
            code, name = ERRORS.get(error.sqlstate or "", INTERNAL)
            result = {"ok": 0.0, "errmsg": error.diag.message_primary or str(error), "code": code, "codeName": name}
        except Exception as error:  # A command this server does not understand must not end the connection.
            result = {"ok": 0.0, "errmsg": repr(error), "code": INTERNAL[0], "codeName": INTERNAL[1]}
        return result if isinstance(result, bytes) else bson.encode(result)

    def command(self, document, sequences):
        command = RawBSONDocument(document)
        given = next(iter(command))
        name = given.lower()
        if name in ("hello", "ismaster"):
            return hello(command)
        if name in ("ping", "endsessions"):
            return {"ok": 1.0}
        if name == "buildinfo":
            return {"version": "7.0.0", "versionArray": [7, 0, 0, 0], "maxBsonObjectSize": 16 << 20, "bits": 64, "ok": 1.0}
        self.database = self.database or Database(self.server.dsn)
        if name == "saslstart":
            return self.start_login(bytes(command["payload"]).decode())
        if name == "saslcontinue":
            return self.continue_login(bytes(command["payload"]).decode())
        if not self.user:
            raise Refused(13, "Unauthorized", f"Command {given} requires authentication")
        if name in WRITES and all(role.startswith("read") and "Write" not in role for role in self.roles):
            raise Refused(13, "Unauthorized", f"not authorized on {command.get('$db')} to execute command {given}")
        return self.authorized(name, command, document, next(iter(sequences.values()), None))

    def authorized(self, name, command, document, sequence):
        database, db, value = self.database, command.get("$db", "admin"), command[next(iter(command))]
        if name == "connectionstatus":
            return self.connection_status(command)
        if name == "killcursors":
            return kill_cursors(command["cursors"])
        if name == "getmore":
            return self.more(db, value, document)
        if name in CURSORS:
            return self.first_page(CURSORS[name], db, document)
        if name in ("insert", "update", "delete"):
            sql = f"SELECT p_result::bytea FROM documentdb_api.{name}(%s, %s::bytea, %s::bytea)"
            return with_public_codes(bson.decode(database.document(sql, db, document, sequence)))
        if name == "findandmodify":
            return database.document("SELECT p_result::bytea FROM documentdb_api.find_and_modify(%s, %s::bytea)", db, document)
        if name in ("count", "distinct"):
            return database.document(f"SELECT document::bytea FROM documentdb_api.{name}_query(%s, %s::bytea)", db, document)
        if name == "createindexes":
            return self.create_indexes(db, value, document)
        if name in ("dropindexes", "deleteindexes"):
            return database.document("CALL documentdb_api.drop_indexes(%s, %s::bytea)", db, document)
        if name == "create":
            return database.document("SELECT documentdb_api.create_collection_view(%s, %s::bytea)::bytea", db, document)
        if name == "collmod":
            return database.document("SELECT documentdb_api.coll_mod(%s, %s, %s::bytea)::bytea", db, value, document)
        if name == "drop":
            if not database.row("SELECT documentdb_api.drop_collection(%s, %s)", db, value)[0]:
                raise Refused(26, "NamespaceNotFound", "ns not found")
            return {"ns": f"{db}.{value}", "ok": 1.0}
        if name == "dropdatabase":
            database.row("SELECT documentdb_api.drop_database(%s)", db)
            return {"dropped": db, "ok": 1.0}
        if name == "renamecollection":
            (db, old), new = value.split(".", 1), command["to"].split(".", 1)[1]
            sql = "SELECT documentdb_api.rename_collection(%s, %s, %s, %s)"
            database.row(sql, db, old, new, bool(command.get("dropTarget")))
            return {"ok": 1.0}
        if name == "collstats":
            scale = float(command.get("scale", 1))
            return database.document("SELECT documentdb_api.coll_stats(%s, %s, %s::float8)::bytea", db, value, scale)
        if name == "dbstats":
            scale = float(command.get("scale", 1))
            return database.document("SELECT documentdb_api.db_stats(%s, %s::float8, false)::bytea", db, scale)
        if name == "validate":
            return database.document("SELECT documentdb_api.validate(%s, %s::bytea)::bytea", db, document)
        if name == "currentop":
            return database.document("SELECT document::bytea FROM documentdb_api.current_op_command(%s::bytea)", document)
        if name in ADMINISTRATION:
            return database.document(f"SELECT x::bytea FROM documentdb_api.{ADMINISTRATION[name]}(%s::bytea) x", document)
        raise Refused(59, "CommandNotFound", f"no such command: '{next(iter(command))}'")

    def first_page(self, function, db, document):
        sql = f"SELECT cursorpage::bytea, continuation::bytea, cursorid FROM documentdb_api.{function}(%s, %s::bytea)"
        page, continuation, cursor = self.database.row(sql, db, document)
        keep(cursor, self.database, continuation)
        return bytes(page)

    def more(self, db, cursor, document):
        with cursors_lock:
            found = cursors.pop(cursor, None)
        if not found:
            raise Refused(43, "CursorNotFound", f"cursor id {cursor} not found")
        database, continuation = found
        sql = "SELECT cursorpage::bytea, continuation::bytea FROM documentdb_api.cursor_get_more(%s, %s::bytea, %s::bytea)"
        page, continuation = database.row(sql, db, document, continuation)
        keep(cursor, database, continuation)
        return bytes(page)

    def create_indexes(self, db, collection, document):
        sql = "SELECT retval::bytea FROM documentdb_api.create_indexes_background(%s, %s::bytea)"
        result = with_public_codes(bson.decode(self.database.document(sql, db, document)))
        if result.get("ok") != 1:
            detail = next(iter(result.get("raw", {}).values()), {})
            return {**result, **{key: value for key, value in detail.items() if key != "ok"}}
        # Where the extension queues the work for pg_cron, which starts it seconds later, it is done here and now.
        waiting = """SELECT count(*) FROM documentdb_api_catalog.documentdb_index_queue
            JOIN documentdb_api_catalog.collections USING (collection_id) WHERE database_name = %s AND collection_name = %s"""
        deadline = time.monotonic() + 60
        while self.database.row(waiting, db, collection)[0]:
            if time.monotonic() > deadline:
                raise Refused(50, "MaxTimeMSExpired", "the index was not built within 60 seconds")
            self.database.execute("CALL documentdb_api_internal.build_index_concurrently(1)")
            time.sleep(0.01)
        return result

    def connection_status(self, command):
        info = {
            "authenticatedUsers": [{"user": self.user, "db": "admin"}],
            "authenticatedUserRoles": [{"role": role, "db": "admin"} for role in self.roles],
        }
        return {"authInfo": info, "ok": 1.0}

    def start_login(self, payload):
        """RFC 5802: payload is "n,,n=USER,r=NONCE"."""
        fields = dict(part.split("=", 1) for part in payload.split(",")[2:])
        user = fields["n"].replace("=2C", ",").replace("=3D", "=")
        sql = "SELECT documentdb_api_internal.scram_sha256_get_salt_and_iterations(%s)::bytea"
        secret = bson.decode(self.database.document(sql, user))
        if secret.get("ok") != 1:
            raise Refused(18, "AuthenticationFailed", "Authentication failed.")
        nonce = fields["r"] + base64.b64encode(os.urandom(18)).decode()
        first = f"r={nonce},s={secret['salt']},i={secret['iterations']}"
        self.exchange = (user, payload[3:], first)
        return {"conversationId": 1, "done": False, "payload": Binary(first.encode()), "ok": 1.0}

    def continue_login(self, payload):
        if not payload:
            return {"conversationId": 1, "done": True, "payload": Binary(b""), "ok": 1.0}
        user, client_first, server_first = self.exchange
        without_proof, proof = payload.rsplit(",p=", 1)
        sql = "SELECT documentdb_api_internal.authenticate_with_scram_sha256(%s, %s, %s)::bytea"
        checked = bson.decode(self.database.document(sql, user, f"{client_first},{server_first},{without_proof}", proof))
        if checked.get("ok") != 1:
            raise Refused(18, "AuthenticationFailed", "Authentication failed.")
        self.user, self.roles = user, self.roles_of(user)
        signature = f"v={checked['ServerSignature']}"
        return {"conversationId": 1, "done": True, "payload": Binary(signature.encode()), "ok": 1.0}

    def roles_of(self, user):
        question = bson.encode({"usersInfo": user, "$db": "admin"})
        users = bson.decode(self.database.document("SELECT x::bytea FROM documentdb_api.users_info(%s::bytea) x", question))["users"]
        return [role["role"] for found in users for role in found["roles"]]


def sections(body, at, end):
    """The command of an OP_MSG, and its document sequences by name."""
    document, sequences = None, {}
    while at < end:
        kind = body[at]
        size = struct.unpack_from("<i", body, at + 1)[0]
        if kind == 0:
            document = body[at + 1 : at + 1 + size]
        else:
            name_end = body.index(b"\0", at + 5)
            sequences[body[at + 5 : name_end].decode()] = body[name_end + 1 : at + 1 + size]
        at += 1 + size
    return document, sequences


def keep(cursor, database, continuation):
    if continuation is not None:
        with cursors_lock:
            cursors[cursor] = (database, bytes(continuation))


def kill_cursors(wanted):
    with cursors_lock:
        killed = [cursor for cursor in wanted if cursors.pop(cursor, None)]
    return {"cursorsKilled": killed, "cursorsNotFound": [cursor for cursor in wanted if cursor not in killed], "ok": 1.0}


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("port", type=int)
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--tls-ca")
    options = parser.parse_args()
    tls = None
    if options.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls_cert, options.tls_key)
        if options.tls_ca:
            tls.load_verify_locations(options.tls_ca)
            tls.verify_mode = ssl.CERT_REQUIRED
    with Server(("127.0.0.1", options.port), Client) as server:
        server.dsn, server.tls = options.dsn, tls
        print("ready", flush=True)
        server.serve_forever()


main()
