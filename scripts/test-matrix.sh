#!/usr/bin/env bash
# Usage: scripts/test-matrix.sh
#
# What takes too long for every run: PostgreSQL's own regression files, with every table attached that can be
# (scripts/test-regress.sh --help).
#
# ./test-replication.sh --matrix runs it. Exit status: 0 all is well; 1 a step failed, named in the last line; 2 usage.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/test-steps.sh"

main() {
  local begun_ms
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    ?*) die_usage "There is no option '$1'." ;;
  esac
  begun_ms=$(now_ms)
  step "PostgreSQL's own regression files, under capture" "$ROOT/scripts/test-regress.sh"
  heading "${GREEN}All is well${PLAIN}, after $(seconds_since "$begun_ms") s."
}

main "$@"
