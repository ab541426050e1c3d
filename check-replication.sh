#!/usr/bin/env bash
# Usage: ./check-replication.sh [--health=FILE]…
#
# Is B in sync with A? Prints six sections (components, databases, comparison, latest, lag, verdict), the last with what to
# do next. A suspicious value is sampled again after 5 seconds, so that a short burst of load is not reported.
#
# Checks the demo, or the databases SOURCE_DATABASE_URL and TARGET_DATABASE_URL (as compare-replication.sh takes them). Of
# the latter it says all that the databases tell: whether apply is blocked, lag, holes in capture, quarantine, the outbox,
# and the row counts of the attached tables (the smallest, up to a gigabyte together).
#
#   --health=FILE   of one's own databases: a service's HEALTH_FILE, for each service. Without it, the services are not
#                   checked
#
# Exit status: 0 OK; 1 warning; 2 critical, or wrong usage; 3 something could not be looked at (what is critical all the
# same is 2). An output that is full or closed changes none of them.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/sides.sh"
source "$ROOT/scripts/health.sh"
source "$ROOT/scripts/check/findings.sh"
source "$ROOT/scripts/check/errors.sh"
source "$ROOT/scripts/check/components.sh"
source "$ROOT/scripts/check/sample.sh"
source "$ROOT/scripts/check/databases.sh"
source "$ROOT/scripts/check/comparison.sh"
source "$ROOT/scripts/check/services.sh"

# What cannot be looked at is neither well nor critical.
die() {
  error "$@"
  exit 3
}

parse_arguments() {
  HEALTH_FILES=()
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --health=?*) HEALTH_FILES+=("${1#--health=}") ;;
      *) die_usage "There is no option or argument '$1'." ;;
    esac
    shift
  done
}

# A finding of its own for each thing that is not as it should be; the verdict has them all.
check() {
  sides_load
  if sides_are_own; then
    services_print "${HEALTH_FILES[@]}"
  else
    [[ ${#HEALTH_FILES[@]} -eq 0 ]] || die_usage "--health goes with SOURCE_DATABASE_URL and TARGET_DATABASE_URL."
    type -P curl >/dev/null || die "curl is missing: apt-get install curl"
    components_print
  fi
  sample_until_certain
  databases_print
  comparison_print
  sides_are_own || latest_print
  lag_print
  verdict_print
  exit "$EXIT_STATUS"
}

all_is_well() {
  local who="all components are healthy, and"
  if sides_are_own; then
    who="the services named are healthy, and"
    [[ ${#HEALTH_FILES[@]} -gt 0 ]] || who="as far as the databases tell (the services were not looked at),"
  fi
  printf '%s B is what A was a moment ago. Nothing to do.' "$who"
}

main() {
  parse_arguments "$@"
  print_if_possible check
}

main "$@"
