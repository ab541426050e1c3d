#!/usr/bin/env bash
# Usage: scripts/test-older-services.sh DIRECTORY
#
# Builds outbox-publisher and inbox-processor of the last landed version, for the stories of a rolling upgrade
# (tests/stories/upgrade/rolling.rs), into DIRECTORY. The file tests/stories/upgrade/last-landed names the revision:
# raise it where a version has landed that people run. What is there already is left as it is.
#
# Exit status: 0 they are there; 1 they cannot be built; 3 this is no checkout that has that revision.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/unoptimized.sh"

readonly SERVICES=(outbox-publisher inbox-processor)
readonly CRATES=(shared "${SERVICES[@]}")
readonly NO_REVISION=3

# In the target directory of this version, whose dependencies are built already. Their programs take the place of
# this version's there until that is built again, which compiles nothing. The files get the time of now: by that of the
# revision, cargo would take them for those of a later one that it has built.
older_services_build() {
  local sources=$TARGET/older-src
  unoptimized "${CRATES[@]}"
  rm -rf "$sources" "$DIRECTORY"
  mkdir -p "$sources" "$DIRECTORY"
  git archive "$REVISION" | tar --extract --touch --directory="$sources"
  cargo build --release --locked --workspace --manifest-path="$sources/Cargo.toml" --target-dir="$TARGET" \
    "${SERVICES[@]/#/--bin=}" "${UNOPTIMIZED[@]}"
  cp "${SERVICES[@]/#/$TARGET/release/}" "$DIRECTORY/"
  cargo build --release --locked --workspace
  printf '%s\n' "$REVISION" >"$DIRECTORY/revision"
}

main() {
  [[ ${1:-} != -h && ${1:-} != --help ]] || { print_help "$0" && exit; }
  [[ $# == 1 ]] || die_usage "Say into which directory."
  DIRECTORY=$1 TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
  cd "$ROOT"
  REVISION=$(<tests/stories/upgrade/last-landed)
  [[ $(cat "$DIRECTORY/revision" 2>/dev/null) != "$REVISION" ]] || exit 0
  if [[ $(git rev-parse --show-toplevel 2>/dev/null) != "$ROOT" ]]; then
    warn "This is a copy of the tree, no checkout: the stories of a rolling upgrade are left out."
    exit "$NO_REVISION"
  fi
  if ! git cat-file -e "$REVISION^{commit}" 2>/dev/null; then
    rm -rf "$DIRECTORY"
    warn "This checkout does not have the revision $REVISION: the stories of a rolling upgrade are left out. Fetch it (git fetch --unshallow)."
    exit "$NO_REVISION"
  fi
  older_services_build
}

main "$@"
