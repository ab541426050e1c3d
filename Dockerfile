# One image for the three services, and for replicationctl. The container's command names the one to run.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# The line tables of Cargo.toml's profile are five sixths of a binary.
ENV CARGO_PROFILE_RELEASE_DEBUG=none
# First the dependencies, with placeholders for our own code: a layer that only Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY shared/Cargo.toml shared/
COPY generator/Cargo.toml generator/
COPY publisher/Cargo.toml publisher/
COPY processor/Cargo.toml processor/
COPY ctl/Cargo.toml ctl/
COPY tests/Cargo.toml tests/
COPY tests/model/Cargo.toml tests/model/
COPY bench/Cargo.toml bench/
RUN mkdir shared/src generator/src publisher/src processor/src ctl/src bench/src tests/stories \
    && for file in shared/src/lib.rs generator/src/main.rs publisher/src/main.rs processor/src/main.rs ctl/src/main.rs bench/src/main.rs \
        tests/stories/main.rs tests/model/main.rs; \
    do echo '//! A placeholder.' > $file; echo 'fn main() {}' >> $file; done \
    && cargo build --release --locked --workspace
COPY schema schema
COPY shared shared
COPY generator generator
COPY publisher publisher
COPY processor processor
COPY ctl ctl
# Newer than the placeholders, so that cargo sees the change.
RUN touch shared/src/lib.rs generator/src/main.rs publisher/src/main.rs processor/src/main.rs ctl/src/main.rs \
    && cargo build --release --locked --bins

FROM debian:bookworm-slim
# The NATS client reads the system's certificates at start, also where no TLS is used.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build \
    /build/target/release/data-generator \
    /build/target/release/outbox-publisher \
    /build/target/release/inbox-processor \
    /build/target/release/replicationctl \
    /usr/local/bin/
USER 10001:10001
