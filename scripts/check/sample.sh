# shellcheck shell=bash
# Reads both databases: B first, then A with B's position. What A has beyond that position is pending,
# so the two can be compared exactly while transactions commit.
#
# A sample is the array NOW, keyed by the names that source.sql and target.sql select; what could not be
# read is missing. A suspicious sample is followed by another, to tell a burst from a state; BEFORE is
# then the sample taken SAMPLE_PAUSE_S earlier.

readonly SAMPLE_PAUSE_S=5
readonly BACKLOG_NORMAL_MAX=50
readonly LAG_NORMAL_MS=1000
readonly LAG_WARNING_MS=10000

declare -A NOW=() BEFORE=()

sample_until_certain() {
  local name
  SAMPLES=1
  sample_take
  while sample_needs_another; do
    printf '%s\n' "Checking again in $SAMPLE_PAUSE_S s: $SUSPICION." >&2
    sleep "$SAMPLE_PAUSE_S"
    BEFORE=()
    for name in "${!NOW[@]}"; do BEFORE[$name]=${NOW[$name]}; done
    sample_take
    SAMPLES=$((SAMPLES + 1))
  done
}

sample_take() {
  local table b_is_known=false
  NOW=()
  sample_read postgres-b "$ROOT/scripts/check/target.sql"
  ! known b_users || b_is_known=true
  sample_read postgres-a "$ROOT/scripts/check/source.sql" \
    --set=b_is_known="$b_is_known" --set=tick="$(now applied_tick)" --set=tick_id="$(now applied_tick_id)"
  ! component_is_up postgres-a || NOW[disk_free_a]=$(component_disk_free postgres-a)
  for table in users payments; do
    ! comparable "$table" || NOW[${table}_difference]=$(difference "$table")
  done
}

# sample_read COMPONENT SQL_FILE [PSQL_ARGUMENT…]
sample_read() {
  local component=$1 sql_file=$2 line
  shift 2
  component_is_up "$component" || return 0
  while IFS= read -r line; do
    if [[ $line =~ ^([a-z][a-z0-9_]*)=(.*)$ ]]; then
      NOW[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
    elif [[ $line == *ERROR:* && $line != *"statement timeout"* || $line == *"error:"* ]]; then
      line=${line#*[Ee][Rr][Rr][Oo][Rr]:}
      NOW[$component]=${line#"${line%%[^ ]*}"}
    fi
  done < <(component_psql "$component" --quiet --tuples-only --no-align --expanded \
    --field-separator== "$@" --file=- <"$sql_file" 2>&1)
}

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

# By how many rows of a table A's count, without pending changes, exceeds B's.
difference() {
  local in_a=${NOW[a_$1]} pending=${NOW[$1_pending]} in_b=${NOW[b_$1]}
  printf '%s' "$((in_a - pending - in_b))"
}
comparable() { known "a_$1" "b_$1" "$1_pending"; }
differs() { known "$1_difference" && [[ $(now "$1_difference") != 0 ]]; }
target_is_empty() { above a_users 0 && [[ $(now b_users) == 0 ]]; }

# Sets SUSPICION to the reason for another sample.
sample_needs_another() {
  SUSPICION=''
  case $SAMPLES in
    1)
      if differs users || differs payments; then SUSPICION="the counts differ"; fi
      if target_is_empty; then SUSPICION="B has no data yet"; fi
      if known events_pending && ! comparable users; then SUSPICION="a TRUNCATE is pending"; fi
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
