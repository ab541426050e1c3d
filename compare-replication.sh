#!/usr/bin/env bash
# Usage: ./compare-replication.sh [--timeout=SECONDS] [TABLE…]
#
# Does B have the same rows as A, value by value? Compares all attached tables, or those named
# (payments, shop.customer), also while transactions commit: it reads B together with B's position, then A,
# and leaves out what A has changed since that position (it is pending). Everything else must be equal. A
# difference is reported only if a second reading confirms it.
#
#   --timeout=SECONDS   maximum time to read one table (3600)
#
# Reads every table once on either side, and the parts that differ once or twice more. Like any long query, it makes
# ALTER TABLE and TRUNCATE wait, and keeps vacuum from removing rows that are deleted meanwhile.
#
# Compares the databases of the demo, or SOURCE_DATABASE_URL and TARGET_DATABASE_URL (postgres://…, as psql takes
# them; the password in the URL or in ~/.pgpass; a role that may read the tables and the schema replication).
#
# Exit status: 0 equal; 1 rows differ; 2 wrong usage, or a table could not be compared (the output says why).
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/sides.sh"
source "$ROOT/scripts/compare/sides.sh"
source "$ROOT/scripts/compare/table.sh"

# A comparison that cannot run is not a difference.
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
  [[ ${#NAMES[@]} -gt 0 ]] || die "No table is attached in A. Attach one first: select replication.attach('…')"
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
      0) die_usage "$wanted is not attached in A. Attached tables: ${NAMES[*]}." ;;
      1) chosen+=("${found[0]}") ;;
      *) die_usage "$wanted is ambiguous: ${found[*]}." ;;
    esac
  done
  [[ ${#chosen[@]} -eq 0 ]] || NAMES=("${chosen[@]}")
}

main() {
  parse_arguments "$@"
  export LC_ALL=C # sort, comm and cut go by bytes
  print_if_possible compare
}

compare() {
  local name
  sides_load
  WORK=$(mktemp --directory) || die "No directory for what is read can be created in ${TMPDIR:-/tmp}."
  trap 'reader_end; rm -rf "$WORK"' EXIT
  trap 'exit 130' INT TERM HUP
  side_read a tables.sql --field-separator-zero --record-separator-zero >"$WORK/tables" || die "Cannot read A: $(side_error a)"
  tables_load
  tables_choose
  STATUS=0
  heading "Comparison by value (pending changes left out)"
  for name in "${NAMES[@]}"; do table_compare "$name"; done
  not_attached_print
  verdict_print
  exit "$STATUS"
}

# Tables of A that nobody attached are not replicated, and so not compared.
not_attached_print() {
  local count
  if ! count=$(side_read a not_attached.sql); then
    status_worsen 2
    say "Cannot read which tables of A are not attached: $(side_error a)"
  elif ((count > 0)); then
    say "Tables that are not attached in A, and so not replicated: $count (select * from replication.not_attached)"
  fi
}

verdict_print() {
  heading "Verdict"
  case $STATUS in
    0) say "${GREEN}OK${PLAIN}: B equals A, except for pending changes." ;;
    1) say "${RED}DIFFERENT${PLAIN}: rows differ. See above for which, and how to repair them." ;;
    *) say "${RED}INCOMPLETE${PLAIN}: some tables could not be compared. See above for why." ;;
  esac
}

main "$@"
