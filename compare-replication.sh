#!/usr/bin/env bash
# Usage: ./compare-replication.sh [--timeout=SECONDS] [TABLE…]
#
# Does B hold what A holds, row by row and value by value? Compares all attached tables, or those named
# (payments, shop.customer), also while transactions commit: B is read together with its position, A after
# that, and what A has changed since that position is on its way and left out. All else has to be equal. A
# difference is looked at twice before it is said.
#
#   --timeout=SECONDS   how long reading one table may take (3600)
#
# Reads every table once on either side, and the parts that differ once or twice more. As any long query does, it makes
# ALTER TABLE and TRUNCATE wait, and keeps vacuum from removing what is deleted meanwhile.
#
# The databases are those of the demo, or SOURCE_DATABASE_URL and TARGET_DATABASE_URL (postgres://…, for psql; the
# password there or in ~/.pgpass; a role that may read the tables and the schema replication).
#
# Exit status: 0 equal; 1 rows differ; 2 wrong usage, or something could not be compared (which is said).
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/compare/sides.sh"
source "$ROOT/scripts/compare/table.sh"

# What keeps it from comparing is no difference.
die() {
  error "$@"
  exit 2
}

parse_arguments() {
  TABLES_WANTED=() TIMEOUT_S=3600
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --timeout=*)
        TIMEOUT_S=${1#--timeout=}
        [[ $TIMEOUT_S =~ ^[1-9][0-9]{0,5}$ ]] || die_usage "--timeout takes seconds from 1 to 999999, not '$TIMEOUT_S'."
        ;;
      -*) die_usage "There is no option '$1'." ;;
      *) TABLES_WANTED+=("$1") ;;
    esac
    shift
  done
}

# Sets NAMES (as SQL has them), and by name what tables.sql tells of each.
tables_load() {
  local name plain parts keys columns
  declare -gA PLAIN_NAMES=() PART_COUNT=() KEYS=() COLUMNS=()
  NAMES=()
  while IFS= read -r -d '' name && IFS= read -r -d '' plain && IFS= read -r -d '' parts \
    && IFS= read -r -d '' keys && IFS= read -r -d '' columns; do
    NAMES+=("$name") PLAIN_NAMES[$name]=$plain PART_COUNT[$name]=$parts KEYS[$name]=$keys COLUMNS[$name]=$columns
  done <"$WORK/tables"
  [[ ${#NAMES[@]} -gt 0 ]] || die "No table is attached in A, so there is nothing to compare: select replication.attach('…')"
}

# Names as SQL has them (shop."order"), or plain ones (shop.order, and order for public.order).
tables_choose() {
  local wanted name found chosen=()
  for wanted in "${TABLES_WANTED[@]}"; do
    found=()
    for name in "${NAMES[@]}"; do
      if [[ $name == "$wanted" ]]; then
        found=("$name")
        break
      fi
      [[ ${PLAIN_NAMES[$name]} != "$wanted" && ${PLAIN_NAMES[$name]} != "public.$wanted" ]] || found+=("$name")
    done
    case ${#found[@]} in
      0) die_usage "$wanted is not attached in A. There are: ${NAMES[*]}." ;;
      1) chosen+=("${found[0]}") ;;
      *) die_usage "$wanted may be any of: ${found[*]}." ;;
    esac
  done
  [[ ${#chosen[@]} -eq 0 ]] || NAMES=("${chosen[@]}")
}

main() {
  local name
  parse_arguments "$@"
  export LC_ALL=C # sort, comm and cut go by bytes
  sides_load
  WORK=$(mktemp --directory)
  trap 'reader_end; rm -rf "$WORK"' EXIT
  trap 'exit 130' INT TERM HUP
  side_read a tables.sql --field-separator-zero --record-separator-zero >"$WORK/tables" || die "A cannot be read: $(side_error a)"
  tables_load
  tables_choose
  STATUS=0
  heading "Comparison by value: A without what is on its way, and B"
  for name in "${NAMES[@]}"; do table_compare "$name"; done
  verdict_print
  exit "$STATUS"
}

verdict_print() {
  heading "Verdict"
  case $STATUS in
    0) say "${GREEN}OK${PLAIN}: B holds what A holds, but for what is on its way." ;;
    1) say "${RED}DIFFERENT${PLAIN}: what to do is said above." ;;
    *) say "${RED}INCOMPLETE${PLAIN}: not all could be compared; why is said above." ;;
  esac
}

main "$@"
