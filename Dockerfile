# The DBSnap image. Build it with: docker build -t dbsnap .
#
# It carries the client programs of PostgreSQL, MariaDB and MySQL; MongoDB and SQLite need none.
#
# RUST_IMAGE must bring cargo 1.95 or newer on the same Debian release as RUNTIME_IMAGE, or an older one.
# PG_CLIENTS are the PostgreSQL clients to install: a client dumps servers of its own major and older. Debian trixie offers
# 17. For a PostgreSQL 18 server:
#   docker build --build-arg RUNTIME_IMAGE=debian:sid-slim --build-arg PG_CLIENTS=postgresql-client-18 -t dbsnap .
ARG RUST_IMAGE=rust:1.95-trixie
ARG RUNTIME_IMAGE=debian:trixie-slim
# MySQL's own clients are packaged for Debian sid only. They are taken out of this image with all that they are linked to.
ARG MYSQL_IMAGE=debian:sid-slim

FROM ${MYSQL_IMAGE} AS mysql
ARG MYSQL_CLIENTS=mysql-client-core
RUN apt-get update \
 && apt-get install -y --no-install-recommends ${MYSQL_CLIENTS} \
 && rm -rf /var/lib/apt/lists/*
# Debian's packages of the two exclude each other, and sid's C library is newer than the runtime image's: each program runs by
# a launcher of its name, through the loader and the libraries that came with it.
RUN set -eu; \
    mkdir -p /opt/mysql/bin /opt/mysql/lib /opt/mysql/libexec /opt/mysql/plugin; \
    for program in mysql mysqldump; do \
        ldd "/usr/bin/$program" | awk '$2 == "=>" { print $3 } $1 ~ "^/" { print $1 }' >> /tmp/libraries; \
        cp "/usr/bin/$program" /opt/mysql/libexec/; \
    done; \
    sort -u /tmp/libraries | xargs cp -L -t /opt/mysql/lib; \
    loader=$(cd /opt/mysql/lib && ls ld-linux*); \
    find /usr/lib/mysql -name 'authentication_*_client.so' -exec cp -t /opt/mysql/plugin '{}' + ; \
    for program in mysql mysqldump; do \
        printf '#!/bin/sh\nexport LIBMYSQL_PLUGIN_DIR=/opt/mysql/plugin\nexec /opt/mysql/lib/%s --library-path /opt/mysql/lib --argv0 "$0" /opt/mysql/libexec/%s "$@"\n' \
            "$loader" "$program" > "/opt/mysql/bin/$program"; \
        chmod 755 "/opt/mysql/bin/$program"; \
        "/opt/mysql/bin/$program" --version; \
    done

FROM ${RUST_IMAGE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends npm \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The dependencies alone, so that a change to our own sources does not build them again.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it \
 && echo 'fn main() {}' | tee build.rs src/main.rs tests/it/main.rs \
 && touch src/lib.rs \
 && cargo build --release --locked \
 && rm -rf build.rs src tests
COPY . .
# Cargo compares times: the stand-ins above are newer than the real files may be.
RUN touch build.rs src/main.rs src/lib.rs \
 && cargo build --release --locked

FROM ${RUNTIME_IMAGE}
ARG PG_CLIENTS=postgresql-client-17
ARG MARIADB_CLIENTS=mariadb-client
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates tini tzdata ${PG_CLIENTS} ${MARIADB_CLIENTS} \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 dbsnap \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin dbsnap \
 && install -d -o dbsnap -g dbsnap -m 0700 /data
COPY --from=mysql /opt/mysql /opt/mysql
COPY --from=build /src/target/release/dbsnap /usr/local/bin/dbsnap

ENV DATABASE_PATH=/data/dbsnap.db \
    BACKUP_STORAGE_PATH=/data/backups \
    MYSQL_BIN_DIRS=/opt/mysql/bin
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["dbsnap", "healthcheck"]
# tini reaps what a killed dump tool leaves behind and passes SIGTERM on: dbsnap then ends its jobs in order.
ENTRYPOINT ["/usr/bin/tini", "--", "dbsnap"]
CMD ["serve"]
