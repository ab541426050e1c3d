# shellcheck shell=bash
# Section 3: the numbers of rows.

TABLES_EQUAL=0

comparison_print() {
  local number
  heading "Comparison by row count (pending changes left out)"
  for number in "${TABLES[@]}"; do table_compare "$number"; done
  ((TABLES_EQUAL == 0 || ${#TABLES[@]} <= TABLES_SHOWN_MAX)) || say "$TABLES_EQUAL tables are ${GREEN}equal${PLAIN}"
  if known not_counted; then
    say "not counted: $(now not_counted). By value: ./compare-replication.sh TABLE"
    ! above hindered 0 || finding 3 "$(now hindered) attached tables may not be read by this role" "grant it select in A and B, and BYPASSRLS where row security is on"
  fi
  ! known not_attached || say "tables that are not attached in A, and so not replicated: $(now not_attached) (select * from replication.not_attached)"
  ! known skipped_events || say "operators skipped $(now skipped_events) events in A: select * from replication.skipped_event"
  ! known skipped || say "operators skipped $(now skipped) transactions in B: select * from replication.skipped_transaction"
  ! known drifted || say "others have changed rows in B; replication met $(now drifted) of them: select * from replication.target_drift"
  if target_is_empty && ((SAMPLES > 1)); then
    finding 2 "B is empty, A is not" "$(logs_of outbox-publisher inbox-processor)"
  fi
}

# table_compare NUMBER
table_compare() {
  local number=$1 off table level=1 next
  table=$(now "shown_$number")
  if ! comparable "$number"; then
    say "$(printf '%-10s' "$table") ${YELLOW}cannot be compared now${PLAIN}"
    comparison_explain "$number" "$table"
    return
  fi
  off=$(now "difference_$number")
  if [[ $off == 0 ]]; then
    TABLES_EQUAL=$((TABLES_EQUAL + 1))
    ((${#TABLES[@]} > TABLES_SHOWN_MAX)) \
      || say "$(printf '%-10s' "$table") ${GREEN}equal${PLAIN}: $(now "b_rows_$number") rows ($(now "a_rows_$number") in A, net $(now "pending_$number") pending)"
    return
  fi
  ((${off#-} <= 5)) || level=2
  say "$(printf '%-10s' "$table") $(level_colour "$level")differs by ${off#-}${PLAIN}: $(now "a_rows_$number") in A, net $(now "pending_$number") pending, $(now "b_rows_$number") in B"
  next="if both services run, rows were changed in B itself, or existed in A before the table was attached. Find them: ./compare-replication.sh $table. Send all of A's rows again, in A: select replication.resend($(now "literal_$number"))"
  if stood_still applied_tick; then
    finding 2 "$table: row counts differ by ${off#-}, and B's position is not moving" "$next"
  elif stood_still "difference_$number"; then
    finding 2 "$table: row counts differ by ${off#-}, the same as $SAMPLE_PAUSE_S s ago, while B keeps applying" "$next"
  else
    finding 1 "$table: row counts differ by ${off#-}, and B is still applying" "run this again in a minute"
  fi
}

# Why a table cannot be compared, unless another finding already explains it.
comparison_explain() {
  local number=$1 table=$2
  case $(now "b_hindrance_$number") in
    '') ;;
    *"no such table") finding 1 "$table: B has no such table" "create it in B before A writes to it: docs/operations.md, Apply is blocked" && return ;;
    *) finding 3 "$table: $(now "b_hindrance_$number")" "grant it select, and BYPASSRLS where row security is on" && return ;;
  esac
  if truncate_is_pending "$number"; then
    finding 1 "$table: a TRUNCATE is pending for $(seconds lag_ms) s, so the rows cannot be compared" "run this again in a minute"
  elif ((EXIT_STATUS == 0)); then
    finding 3 "$table cannot be compared: counting takes longer than 20 s, or waits for a lock" \
      "in A and in B: select pid, pg_blocking_pids(pid), query from pg_stat_activity where wait_event_type = 'Lock'"
  fi
}
