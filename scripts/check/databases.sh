# shellcheck shell=bash
# Sections 2 to 5: the two databases.

# Beyond this, it is not a burst of load any more.
readonly STANDSTILL_MS=60000

# Time left on A's disk while B is down: enough to bring it back, and a reason to do it now.
readonly DISK_WARNING_S=$((3 * 86400))
readonly DISK_CRITICAL_S=$((12 * 3600))

# With more tables than this, those that are equal are not listed.
readonly TABLES_SHOWN_MAX=20

databases_print() {
  local number
  heading "Databases"
  printf '  %-22s %12s %12s   %s\n' '' A B normal
  ((${#TABLES[@]} > TABLES_SHOWN_MAX)) || for number in "${TABLES[@]}"; do
    row "$(now "shown_$number")" "$(shown "a_rows_$number")" "$(shown "b_rows_$number")" "equal, except for pending changes"
  done
  row "outbox unprocessed" "$(shown outbox_unprocessed)" '' "0 at rest; up to $BACKLOG_NORMAL_MAX, briefly more under load"
  row "outbox unconfirmed" "$(shown outbox_unconfirmed)" '' "0 at rest; events that B has not committed yet"
  row "outbox total" "$(shown outbox_total)" '' "captured events, until they are pruned"
  row "outbox MB" "$(outbox_megabytes)" '' "stable while B confirms; OUTBOX_RETENTION decides how much"
  row "outbox KB/s" "$(outbox_kilobytes_per_s)" '' "capture rate$(disk_print)"
  row "inbox unprocessed" '' "$(shown inbox_unprocessed)" "0 at rest; events of ticks that are incomplete or blocked"
  row "inbox total" '' "$(shown inbox_total)" "received events, until they are pruned"
  row "processed events" '' "$(shown processed_total)" "applied events, until they are pruned"
  databases_judge
}

row() { printf '  %-22s %12s %12s   %s\n' "$@"; }

outbox_megabytes() { if known outbox_bytes; then printf "%s" "$(($(now outbox_bytes) >> 20))"; else printf "?"; fi; }

outbox_kilobytes_per_s() {
  if known outbox_bytes_per_s; then printf '%s' "$((($(now outbox_bytes_per_s) + 1023) >> 10))"; else printf '?'; fi
}

# How long A's disk lasts while B is down, if that can be known.
disk_print() {
  known disk_free_a || return 0
  printf '; A has %s GB of disk free' "$(($(now disk_free_a) >> 30))"
  ! disk_lasts_s >/dev/null || printf ', enough for %s with B down' "$(duration "$(disk_lasts_s)")"
}

# Prints the seconds until A's disk is full at the rate of the latest events, if these and the disk are known.
disk_lasts_s() {
  above outbox_bytes_per_s 0 && known disk_free_a || return 1
  printf '%s' "$(($(now disk_free_a) / $(now outbox_bytes_per_s)))"
}

# 5400 -> 90 minutes
duration() {
  if (($1 < 7200)); then
    printf '%s minutes' "$(($1 / 60))"
  elif (($1 < 172800)); then
    printf '%s hours' "$(($1 / 3600))"
  else
    printf '%s days' "$(($1 / 86400))"
  fi
}

# B is down, cannot keep up, or its confirms do not arrive: then nothing leaves the outbox.
outbox_growth_judge() {
  local lasts_s level=1
  above unconfirmed_age_ms "$LAG_WARNING_MS" && lasts_s=$(disk_lasts_s) && ((lasts_s < DISK_WARNING_S)) || return 0
  ((lasts_s >= DISK_CRITICAL_S)) || level=2
  finding "$level" "the outbox grows by $(outbox_kilobytes_per_s) KB/s, nothing was confirmed for $(seconds unconfirmed_age_ms) s, and A's disk is full in $(duration "$lasts_s")" \
    "bring B back, or free disk space; see docs/operations.md, The outbox grows"
}

# B has committed it, and A does not know.
confirms_judge() {
  above unconfirmed_age_ms "$STANDSTILL_MS" && stood_still confirmed_tick || return 0
  known lag_ms && ! above lag_ms "$LAG_WARNING_MS" || return 0
  finding 1 "B keeps up, but its commits are not confirmed in A for $(seconds unconfirmed_age_ms) s: nothing leaves the outbox" \
    "$(logs_of outbox-publisher inbox-processor): do both have the rights to the subject <NATS_SUBJECT_PREFIX>.confirm?"
}

# A value for people; "?" if it could not be read (a count: in time).
shown() { printf '%s' "${NOW[$1]:-?}"; }

databases_judge() {
  side_judge a
  side_judge b
  if known timeline_unmatched && stood_still timeline_unmatched; then
    finding 2 "A was promoted or restored (timeline $(now timeline_unmatched)), and nothing is published until B confirms a tick of A's history" \
      "$(logs_of inbox-processor outbox-publisher): publishing resumes when B confirms"
  fi
  if [[ $(now a_has_schema) == f ]]; then
    finding 2 "A has no outbox: outbox-publisher creates it" "$(start_of outbox-publisher)"
  elif [[ $(now attached) == 0 ]]; then
    finding 1 "no table is attached in A, so nothing is replicated" "in A: select replication.attach('…')"
  elif ! sides_are_own && known attached_of_demo && [[ $(now attached_of_demo) != 2 ]]; then
    finding 2 "A does not capture both users and payments" \
      "in A: select replication.attach('public.users'), replication.attach('public.payments')"
  fi
  if [[ $(now b_has_schema) == f ]]; then
    finding 2 "B has no inbox: inbox-processor creates it" "$(start_of inbox-processor)"
  fi
  if above outbox_unprocessed "$BACKLOG_NORMAL_MAX" && ((${BEFORE[outbox_unprocessed]:-0} > BACKLOG_NORMAL_MAX)) \
    && stood_still published_tick && ! known publishing_paused; then
    finding 2 "the outbox is not being published: $(now outbox_unprocessed) events pending after tick $(now published_tick)" \
      "$(logs_of outbox-publisher), then those of NATS"
  fi
  outbox_growth_judge
  confirms_judge
  if known capture_problem; then
    finding 2 "A does not capture every change: $(now capture_problem)" "in A: select * from replication.capture_problem"
  fi
  if known verified_different; then
    finding 2 "rows differ in B: $(now verified_different)" \
      "in A: select remedy from replication.verification where state = 'differs', and run what it says (docs/operations.md, Verification)"
  fi
  if known publishing_held; then
    finding 2 "publishing is held up in A since $(now publishing_held_since), and later transactions wait: $(now publishing_held)" \
      "as the message says; nothing is lost (docs/operations.md, A row cannot be sent)"
  fi
  if known held_error; then
    finding 2 "apply in B is blocked since $(now held_since), and later transactions wait: $(now held_error)" \
      "fix B's table as the message says; apply is retried every few seconds and nothing is lost (docs/operations.md, Apply is blocked)"
  fi
  if known publishing_paused; then
    finding 1 "publishing is paused in A since $(now publishing_paused_since) by $(now publishing_paused)" \
      "in A: select replication.resume('publishing'); until then events wait in the outbox"
  fi
  if known applying_paused; then
    finding 1 "applying is paused in B since $(now applying_paused_since) by $(now applying_paused)" \
      "in B: select replication.resume('applying'); until then what is received waits in the inbox"
  fi
  if above quarantine_new 0; then
    finding 1 "B has $(now quarantine_new) unacknowledged messages in quarantine (the last 1000 are kept)" \
      "in B: select * from replication.quarantine; then select replication.quarantine_acknowledge()"
  fi
  if ((SAMPLES == 3)) && grew outbox_unprocessed; then
    finding 1 "the outbox backlog grows: $(now outbox_unprocessed) events unprocessed" "$(logs_of outbox-publisher)"
  fi
  if ((SAMPLES == 3)) && grew inbox_unprocessed; then
    finding 1 "the inbox backlog grows: $(now inbox_unprocessed) events unprocessed" "$(logs_of inbox-processor)"
  fi
}

# What a database's answer means, or that it gave none.
side_judge() {
  local side=$1 error
  error=$(now "error_$side")
  case $error in
    '')
      if side_may_answer "$side" && [[ $(now "${side}_has_schema") != f ]] && ! known "${side}_status_known"; then
        finding 3 "the state of replication in ${side^^} could not be read within 20 s" \
          "in ${side^^}: select pid, pg_blocking_pids(pid), query from pg_stat_activity where wait_event_type = 'Lock'"
      fi
      ;;
    *"not part of the history of this source"* | *"older than OUTBOX_RETENTION"*)
      finding 2 "${side^^} rejects the check's query: $error" \
        "nothing more is applied, B is left as it is: docs/operations.md, Another history"
      ;;
    *) finding 3 "${side^^} cannot be looked at: $error" "$(side_hint "$side")" ;;
  esac
}

side_hint() {
  if sides_are_own; then
    printf 'is the address right, does the server run, and may this role read the schema replication and the attached tables?'
  else
    printf './logs.sh postgres-%s' "$1"
  fi
}

# logs_of SERVICE…: where to look.
logs_of() {
  local service text=''
  for service in "$@"; do
    if sides_are_own; then text+=" and the log of $service"; else text+=" and ./logs.sh $service"; fi
  done
  printf '%s' "${text# and }"
}

start_of() {
  if sides_are_own; then printf '%s migrate, as the owner of the database' "$1"; else printf './start-replication.sh %s' "$1"; fi
}

latest_print() {
  local side number
  heading "Latest users"
  for side in a b; do
    for number in 1 2 3; do
      ! known "${side}_latest_$number" || say "${side^^}  $(now "${side}_latest_$number")"
    done
    known "${side}_latest_1" || say "${side^^}  $(if known "${side}_users"; then printf none; else printf '?'; fi)"
  done
}

lag_print() {
  local colour=$GREEN
  heading "Lag"
  say "last event in the outbox   $(age outbox_age_ms)"
  say "last event in the inbox    $(age inbox_age_ms)"
  say "B shows A as of            $(as_of)"
  if ! known lag_ms last_tick; then
    say "replication lag            ?"
    return
  fi
  ! above lag_ms "$LAG_NORMAL_MS" || colour=$YELLOW
  say "replication lag            $colour$(seconds lag_ms) s${PLAIN}, $(now events_pending) events, $(ticks_behind) ticks (normal: below 1 s)"
  if known applying_paused || known publishing_paused; then
    return # a finding of its own
  elif above lag_ms "$STANDSTILL_MS" && stood_still applied_tick && stood_still inbox_total && services_may_run; then
    finding 2 "B is $(seconds lag_ms) s behind A ($(now events_pending) events) and not moving" \
      "$(logs_of outbox-publisher inbox-processor); lock waits in B: select pid, pg_blocking_pids(pid), query from pg_stat_activity where wait_event_type = 'Lock'"
  elif above lag_ms "$LAG_WARNING_MS"; then
    finding 1 "B is $(seconds lag_ms) s behind A ($(now events_pending) events)" \
      "$(logs_of outbox-publisher inbox-processor) show what they wait for"
  fi
}

# By the clock of A, and how long ago that is: it grows where nothing is heard of A.
as_of() {
  if known as_of behind_ms; then printf '%s, %s s ago' "$(now as_of)" "$(seconds behind_ms)"; else printf '?'; fi
}

# What does not run is a finding already.
services_may_run() { sides_are_own || component_is_up outbox-publisher && component_is_up inbox-processor; }

age() { if known "$1"; then printf '%s s ago' "$(seconds "$1")"; else printf 'none'; fi; }

ticks_behind() {
  local applied last behind
  applied=$(now applied_tick) last=$(now last_tick)
  behind=$((last - ${applied:-0}))
  printf '%s' "$((behind > 0 ? behind : 0))" # B may have advanced since A was read
}
