# The image of the three services. Which one a container runs is its command:
# outbox-publisher, inbox-processor or data-generator.

FROM rust:1-slim-bookworm AS build
WORKDIR /build

# The dependencies are a layer of their own: they are compiled again only when a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY shared/Cargo.toml shared/
COPY generator/Cargo.toml generator/
COPY publisher/Cargo.toml publisher/
COPY processor/Cargo.toml processor/
COPY tests/Cargo.toml tests/
RUN mkdir -p shared/src generator/src publisher/src processor/src tests/stories \
    && touch shared/src/lib.rs \
    && for main in generator/src publisher/src processor/src tests/stories; do echo 'fn main() {}' >"$main/main.rs"; done \
    && cargo build --release --locked --bins

COPY schema schema
COPY shared/src shared/src
COPY generator/src generator/src
COPY publisher/src publisher/src
COPY processor/src processor/src
# Copied files keep their times, and cargo would take them for older than what it has just built.
RUN find shared generator publisher processor -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bins

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin replication \
    && install --directory --owner=replication /run/replication
COPY --from=build \
    /build/target/release/outbox-publisher \
    /build/target/release/inbox-processor \
    /build/target/release/data-generator \
    /usr/local/bin/
ENV HEALTH_FILE=/run/replication/health
USER replication
