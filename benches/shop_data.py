"""A shop's data of a chosen size for a throw-away server: users, orders, items, events with JSON and free text.

It repeats what such data repeats and nothing else: a catalogue of products, templates of log messages, a few user agents.
Names, notes and ids are drawn anew for each row, words one by one from a skewed vocabulary. The same size gives the same data.
"""

import itertools
import random
import subprocess

SCHEMA = """
CREATE TYPE order_status AS ENUM ('cart', 'paid', 'packed', 'shipped', 'returned');
CREATE TABLE users (id bigint, email text, name text, password_hash text, address jsonb, newsletter boolean, bio text, created_at timestamptz);
CREATE TABLE orders (id bigint, user_id bigint, status order_status, total numeric(12,2), currency char(3), placed_at timestamptz, ship_to text, note text);
CREATE TABLE items (order_id bigint, line int, sku text, title text, quantity int, unit_price numeric(10,2), discount double precision);
CREATE TABLE events (id bigint, user_id bigint, kind text, at timestamptz, session uuid, payload jsonb, message text);
"""
KEYS = """
ALTER TABLE users ADD PRIMARY KEY (id), ADD UNIQUE (email);
ALTER TABLE orders ADD PRIMARY KEY (id), ADD FOREIGN KEY (user_id) REFERENCES users;
ALTER TABLE items ADD PRIMARY KEY (order_id, line), ADD FOREIGN KEY (order_id) REFERENCES orders;
ALTER TABLE events ADD PRIMARY KEY (id);
CREATE INDEX ON orders (user_id);
"""
TABLES = ("users", "orders", "items", "events")

# Share of the plain dump that each table takes.
SHARES = {"users": 0.12, "orders": 0.08, "items": 0.05, "events": 0.75}

# Kind of an event and the message that goes with it.
EVENTS = (
    ("page_view", "GET /{a}/{b} served from cache in {n} ms for visitor {v}"),
    ("search", "search for '{a} {b} {c}' found {n} products on {p} pages"),
    ("add_to_cart", "SKU-{n:06} added to cart {v} by the customer, {p} pieces, offer '{a} {b}' applied"),
    ("checkout", "order placed with {p} items, payment {v} authorised by the provider after {n} ms; the customer wrote: {text}"),
    ("login", "signed in with password and second factor from a known device, session {v}"),
    ("refund", "refund {v} of {n} cents approved by {a} {b}: {text}"),
    ("error", "payment provider answered 502 Bad Gateway on attempt {p} for {v}, trying again in {n} s: upstream said '{a}'"),
)
SYSTEMS = ("X11; Linux x86_64", "Macintosh; Intel Mac OS X 10_15_7", "Windows NT 10.0; Win64; x64", "iPhone; CPU iPhone OS 17_4 like Mac OS X")
BROWSERS = ("Chrome", "Firefox", "Safari", "Edg")


class Source:
    """Draws values; everything comes from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        vocabulary = random.Random(1)
        syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "or", "is")]
        words = ["".join(vocabulary.choices(syllables, k=vocabulary.randint(1, 4))) for _ in range(6000)]
        weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
        # One long draw, read again and again with a growing stride, so that no two passes share a phrase: a tenth of the
        # cost of a draw for each word.
        self.pool = self.random.choices(words, cum_weights=weights, k=4_000_000)
        self.at, self.stride = 0, 1
        self.catalogue = [(f"SKU-{n:06}", self.words(2, 6).title(), f"{self.random.randint(99, 20000) / 100:.2f}") for n in range(20_000)]
        self.agents = [f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) {browser}/{version}.0.0" for system in SYSTEMS for browser in BROWSERS for version in range(110, 126)]
        self.cities = [(self.words(1, 2).title(), self.random.randint(10000, 99999)) for _ in range(3000)]

    def words(self, low, high):
        count = self.random.randint(low, high)
        end = self.at + count * self.stride
        if end > len(self.pool):
            self.stride += 1
            self.at, end = 0, count * self.stride
        words = self.pool[self.at : end : self.stride]
        self.at = end
        return " ".join(words)

    def moment(self, row):
        day, second = divmod(row * 37 + self.random.randint(0, 3600), 86400)
        return f"2024-{day // 28 % 12 + 1:02}-{day % 28 + 1:02} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{self.random.randint(0, 999999):06}+00"


def user(source, n):
    r, name, (city, zip_code) = source.random, source.words(2, 2), source.random.choice(source.cities)
    bio = source.words(5, 60) if n % 3 else r"\N"
    address = f'{{"street": "{source.words(1, 2).title()} {r.randint(1, 300)}", "city": "{city}", "zip": "{zip_code}", "country": "{r.choice(("DE", "FR", "PT", "US"))}"}}'
    email = f"{name.replace(' ', '.')}.{n}@{r.choice(('mail', 'post', 'inbox'))}.example"
    return f"{n}\t{email}\t{name.title()}\t$argon2id$v=19$m=19456,t=2,p=1${r.getrandbits(256):064x}\t{address}\t{'t' if n % 4 else 'f'}\t{bio}\t{source.moment(n)}\n"


def order(source, n):
    r, (city, zip_code) = source.random, source.random.choice(source.cities)
    note = source.words(3, 25) if n % 4 == 0 else r"\N"
    status = r.choice(("cart", "paid", "packed", "shipped", "shipped", "shipped", "returned"))
    ship_to = f"{source.words(2, 2).title()}, {source.words(1, 2).title()} {r.randint(1, 300)}, {zip_code} {city}"
    return f"{n}\t{r.randint(1, source.users)}\t{status}\t{r.randint(100, 90000) / 100:.2f}\tEUR\t{source.moment(n)}\t{ship_to}\t{note}\n"


def item(source, n):
    r, (sku, title, price) = source.random, source.random.choice(source.catalogue)
    of_order, line = divmod(n - 1, 3)
    turn, order_id = divmod(of_order, source.orders)
    discount = repr(r.random()) if n % 7 == 0 else "0"
    return f"{order_id + 1}\t{line + 1 + 3 * turn}\t{sku}\t{title}\t{r.randint(1, 5)}\t{price}\t{discount}\n"


def event(source, n):
    r, session = source.random, f"{source.random.getrandbits(128):032x}"
    kind, template = r.choice(EVENTS)
    path = source.words(1, 3).replace(" ", "/")
    payload = (
        f'{{"ip": "{r.randint(1, 223)}.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.randint(1, 254)}", "path": "/{path}", "agent": "{r.choice(source.agents)}",'
        f' "ms": {r.randint(1, 900)}, "screen": [{r.choice((390, 1280, 1440, 1920))}, {r.choice((720, 844, 900, 1080))}],'
        f' "experiment": {{"name": "{r.choice(source.catalogue)[1]}", "arm": "{r.choice("ab")}"}}, "trace": "{r.getrandbits(64):016x}"}}'
    )
    words = source.words(3, 3).split(" ")
    text = source.words(20, 120) if "{text}" in template else ""
    message = template.format(a=words[0], b=words[1], c=words[2], n=r.randint(1, 19999), p=r.randint(1, 9), v=f"{r.getrandbits(40):010x}", text=text)
    return f"{n}\t{r.randint(1, source.users)}\t{kind}\t{source.moment(n)}\t{session}\t{payload}\t{message}\n"


ROWS = {"users": user, "orders": order, "items": item, "events": event}


def rows(source, table, size):
    """The table's rows as lines of COPY text, in pieces, until they take `size` bytes; notes how many there were."""
    written, n = 0, 0
    while written < size:
        piece = "".join(ROWS[table](source, n + i) for i in range(1, 1001)).encode()
        yield piece
        written, n = written + len(piece), n + 1000
    setattr(source, table, n)


def source():
    made = Source(7)
    made.users = made.orders = 1
    return made


def fill(psql, dump_bytes):
    """Creates the tables in PostgreSQL and fills them until their plain dump takes about `dump_bytes`. `psql` is the command to run."""
    subprocess.run([*psql, "-c", SCHEMA], check=True)
    of = source()
    for table in TABLES:
        copy = subprocess.Popen([*psql, "-c", f"COPY {table} FROM STDIN"], stdin=subprocess.PIPE)
        for piece in rows(of, table, SHARES[table] * dump_bytes):
            copy.stdin.write(piece)
        copy.stdin.close()
        if copy.wait() != 0:
            raise SystemExit(f"filling {table} failed")
    subprocess.run([*psql, "-c", KEYS, "-c", "VACUUM ANALYZE"], check=True)


MYSQL_SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, email varchar(190) NOT NULL UNIQUE, name varchar(190), password_hash text, address json, newsletter boolean,
  bio text, created_at datetime(6));
CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint, status enum('cart', 'paid', 'packed', 'shipped', 'returned'), total decimal(12,2),
  currency char(3), placed_at datetime(6), ship_to text, note text, KEY (user_id), FOREIGN KEY (user_id) REFERENCES users (id));
CREATE TABLE items (order_id bigint, line int, sku varchar(40), title varchar(190), quantity int, unit_price decimal(10,2), discount double,
  PRIMARY KEY (order_id, line), FOREIGN KEY (order_id) REFERENCES orders (id));
CREATE TABLE events (id bigint PRIMARY KEY, user_id bigint, kind varchar(40), at datetime(6), session char(32), payload json, message text);
"""

# How MySQL reads the columns of a line; what PostgreSQL writes otherwise passes through a variable.
MYSQL_COLUMNS = {
    "users": "(id, email, name, password_hash, address, @n, bio, @at) SET newsletter = (@n = 't'), created_at = LEFT(@at, 26)",
    "orders": "(id, user_id, status, total, currency, @at, ship_to, note) SET placed_at = LEFT(@at, 26)",
    "items": "(order_id, line, sku, title, quantity, unit_price, discount)",
    "events": "(id, user_id, kind, @at, session, payload, message) SET at = LEFT(@at, 26)",
}


def fill_mysql(client, dump_bytes):
    """The same in MySQL or MariaDB. `client` is its command-line client, connected to the database, with local-infile on."""
    subprocess.run([*client, "-e", MYSQL_SCHEMA], check=True)
    of = source()
    for table in TABLES:
        settings = "SET unique_checks = 0, foreign_key_checks = 0;"
        load = f"{settings} LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE {table} CHARACTER SET utf8mb4 {MYSQL_COLUMNS[table]}"
        copy = subprocess.Popen([*client, "-e", load], stdin=subprocess.PIPE)
        for piece in rows(of, table, SHARES[table] * dump_bytes):
            copy.stdin.write(piece)
        copy.stdin.close()
        if copy.wait() != 0:
            raise SystemExit(f"filling {table} failed")
    subprocess.run([*client, "-e", f"ANALYZE TABLE {', '.join(TABLES)}"], check=True, stdout=subprocess.DEVNULL)
