# shellcheck shell=bash
# Reads both databases: B first, then A with B's position. What A has beyond that position is pending,
# so the two can be compared exactly while transactions commit.
#
# A sample is the array NOW, keyed by the names that the SQL files select; what could not be read is missing. TABLES are
# the numbers of the tables that are counted. A suspicious sample is followed by another, to tell a burst from a state; BEFORE is
# then the sample taken SAMPLE_PAUSE_S earlier.

readonly SAMPLE_PAUSE_S=5
readonly BACKLOG_NORMAL_MAX=50
readonly LAG_NORMAL_MS=1000
readonly LAG_WARNING_MS=10000

declare -A NOW=() BEFORE=()
TABLES=()

sample_until_certain() {
  local name
  SAMPLES=1
  sample_take
  while sample_needs_another; do
    printf '%s\n' "Checking again in $SAMPLE_PAUSE_S s: $SUSPICION." >&2 || true
    sleep "$SAMPLE_PAUSE_S"
    BEFORE=()
    for name in "${!NOW[@]}"; do BEFORE[$name]=${NOW[$name]}; done
    sample_take
    SAMPLES=$((SAMPLES + 1))
  done
}

sample_take() {
  local number
  NOW=()
  sample_read a tables.sql
  NOW[tables]=${NOW[tables]:-[]}
  sample_read b target.sql "tables=$(now tables)"
  sample_read a source.sql "tables=$(now tables)" "b_is_known=$(if known b_status_known; then printf true; else printf false; fi)" \
    "tick=$(now applied_tick)" "tick_id=$(now applied_tick_id)"
  mapfile -t TABLES < <(seq "${NOW[counted]:-0}")
  for number in "${TABLES[@]}"; do
    ! comparable "$number" || NOW[difference_$number]=$(difference "$number")
  done
  sides_are_own || sample_of_demo_take
}

sample_of_demo_take() {
  sample_read b latest.sql side=b
  sample_read a latest.sql side=a
  ! component_is_up postgres-a || NOW[disk_free_a]=$(component_disk_free postgres-a)
}

# sample_read SIDE SQL_FILE [NAME=VALUE…]: what the first error was is in error_SIDE.
sample_read() {
  local side=$1 sql_file=$ROOT/scripts/check/$2 item line output status=0
  shift 2
  side_may_answer "$side" || return 0
  output=$({
    for item in "$@"; do psql_variable "${item%%=*}" "${item#*=}"; done
    cat "$sql_file"
  } | side_psql "$side" --quiet --tuples-only --no-align --expanded --field-separator== --file=- 2>&1) || status=$?
  while IFS= read -r line; do
    if [[ $line =~ ^([a-z][a-z0-9_]*)=(.*)$ ]]; then
      NOW[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
    elif [[ $line == *ERROR:* && $line != *"statement timeout"* || $line == *FATAL:* || $line == *"error:"* ]]; then
      line=${line#*[Ee][Rr][Rr][Oo][Rr]:}
      NOW[error_$side]=${NOW[error_$side]:-${line#"${line%%[^ ]*}"}}
    fi
  done <<<"$output"
  ((status == 0)) || NOW[error_$side]=${NOW[error_$side]:-"no answer (psql ended with status $status)"}
}

# A component that does not run is a finding already.
side_may_answer() { sides_are_own || component_is_up "postgres-$1"; }

now() { printf '%s' "${NOW[$1]:-}"; }
seconds() { printf '%d.%d' "$((NOW[$1] / 1000))" "$((NOW[$1] % 1000 / 100))"; }

# True if all of these were read (and are not null).
known() {
  local name
  for name in "$@"; do [[ -n ${NOW[$name]:-} ]] || return 1; done
}

# above NAME LIMIT: true if it is known and above.
above() { known "$1" && ((${NOW[$1]} > $2)); }

# A backlog rises and falls under load. It matters only if B also falls behind.
grew() { above lag_ms "$LAG_NORMAL_MS" && above "$1" "$BACKLOG_NORMAL_MAX" && above "$1" "${BEFORE[$1]:-0}"; }
stood_still() { [[ -n ${BEFORE[$1]+set} && ${BEFORE[$1]} == "$(now "$1")" ]]; }

# By how many rows of a table (by its number) A's count, without pending changes, exceeds B's.
difference() {
  local in_a=${NOW[a_rows_$1]} pending=${NOW[pending_$1]} in_b=${NOW[b_rows_$1]}
  printf '%s' "$((in_a - pending - in_b))"
}
comparable() { known "a_rows_$1" "b_rows_$1" "pending_$1"; }
truncate_is_pending() { known "a_rows_$1" "b_rows_$1" events_pending && ! known "pending_$1"; }

# True for any of the tables: any_table FUNCTION.
any_table() {
  local number
  for number in "${TABLES[@]}"; do ! "$1" "$number" || return 0; done
  return 1
}
differs() { known "difference_$1" && [[ $(now "difference_$1") != 0 ]]; }
has_rows_in_a() { above "a_rows_$1" 0; }
has_rows_in_b() { ! known "b_rows_$1" || above "b_rows_$1" 0; }
target_is_empty() { any_table has_rows_in_a && ! any_table has_rows_in_b; }

# Sets SUSPICION to the reason for another sample.
sample_needs_another() {
  SUSPICION=''
  case $SAMPLES in
    1)
      if any_table differs; then SUSPICION="the counts differ"; fi
      if target_is_empty; then SUSPICION="B has no data yet"; fi
      if any_table truncate_is_pending; then SUSPICION="a TRUNCATE is pending"; fi
      if known timeline_unmatched; then SUSPICION="A is on a timeline that B has not confirmed"; fi
      if above outbox_unprocessed "$BACKLOG_NORMAL_MAX"; then SUSPICION="the outbox has a backlog"; fi
      if above inbox_unprocessed "$BACKLOG_NORMAL_MAX"; then SUSPICION="the inbox has a backlog"; fi
      if above unconfirmed_age_ms "$LAG_WARNING_MS"; then SUSPICION="nothing was confirmed in A for $(seconds unconfirmed_age_ms) s"; fi
      if above lag_ms "$LAG_WARNING_MS"; then SUSPICION="B is $(seconds lag_ms) s behind"; fi
      ;;
    2)
      # A burst also grows within one pause; a real backlog keeps growing.
      if grew outbox_unprocessed || grew inbox_unprocessed; then SUSPICION="the backlog grows"; fi
      ;;
  esac
  [[ -n $SUSPICION ]]
}
