# shellcheck shell=bash
# Builds for tests, where what a program does counts, and not how fast: to optimise our own crates takes most of their
# time. The dependencies stay as they are built already.

# unoptimized CRATE…: sets UNOPTIMIZED to what cargo is told.
unoptimized() {
  local crate
  UNOPTIMIZED=()
  for crate in "$@"; do UNOPTIMIZED+=(--config "profile.release.package.$crate.opt-level=0"); done
}

# What each cargo test is told, so that all run what one of them has built. The services are not built by it.
unoptimized shared outbox-publisher inbox-processor data-generator replicationctl bench
# shellcheck disable=SC2034 # used by those who source this
readonly TEST_BUILD=(--release --locked --workspace "${UNOPTIMIZED[@]}")
