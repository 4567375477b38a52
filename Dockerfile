# The DBSnap image. Build it with: docker build -t dbsnap .
#
# RUST_IMAGE must bring cargo 1.95 or newer on the same Debian release as RUNTIME_IMAGE, or an older one.
# PG_CLIENTS are the PostgreSQL clients to install: a client dumps servers of its own major and older. Debian trixie offers
# 17. For a PostgreSQL 18 server:
#   docker build --build-arg RUNTIME_IMAGE=debian:sid-slim --build-arg PG_CLIENTS=postgresql-client-18 -t dbsnap .
ARG RUST_IMAGE=rust:1.95-trixie
ARG RUNTIME_IMAGE=debian:trixie-slim

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
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates tini tzdata ${PG_CLIENTS} \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 dbsnap \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin dbsnap \
 && install -d -o dbsnap -g dbsnap -m 0700 /data
COPY --from=build /src/target/release/dbsnap /usr/local/bin/dbsnap

ENV DATABASE_PATH=/data/dbsnap.db \
    BACKUP_STORAGE_PATH=/data/backups
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["dbsnap", "healthcheck"]
# tini reaps what a killed dump tool leaves behind and passes SIGTERM on: dbsnap then ends its jobs in order.
ENTRYPOINT ["/usr/bin/tini", "--", "dbsnap"]
CMD ["serve"]
