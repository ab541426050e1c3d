# One image for the three services. The container's command names the one to run.

FROM rust:1-slim-bookworm AS build
WORKDIR /build
# First the dependencies, with placeholders for our own code: a layer that only Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY shared/Cargo.toml shared/
COPY generator/Cargo.toml generator/
COPY publisher/Cargo.toml publisher/
COPY processor/Cargo.toml processor/
COPY tests/Cargo.toml tests/
COPY bench/Cargo.toml bench/
RUN mkdir shared/src generator/src publisher/src processor/src tests/stories bench/src \
    && touch shared/src/lib.rs tests/stories/main.rs \
    && for program in generator publisher processor bench; do echo 'fn main() {}' > $program/src/main.rs; done \
    && cargo build --release --locked --workspace
COPY schema schema
COPY shared shared
COPY generator generator
COPY publisher publisher
COPY processor processor
# Newer than the placeholders, so that cargo sees the change.
RUN touch shared/src/lib.rs generator/src/main.rs publisher/src/main.rs processor/src/main.rs \
    && cargo build --release --locked --bins

FROM debian:bookworm-slim
# The NATS client reads the system's certificates at start, also where no TLS is used.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home replication
COPY --from=build \
    /build/target/release/data-generator \
    /build/target/release/outbox-publisher \
    /build/target/release/inbox-processor \
    /usr/local/bin/
USER 10001
