# shellcheck shell=bash
# Stories of starts that do not go well: what runs is left running, since what corrects it may be SQL there. Sourced by
# scripts/test-demo.sh.

# start_says STATUS TEXT ARGUMENT…: what start-replication.sh ends with and prints. Leaves all that it prints in OUTPUT.
start_says() {
  local status=$1 text=$2 actual=0
  shift 2
  OUTPUT=$(START_TIMEOUT=20 "$ROOT/start-replication.sh" "$@" 2>&1) || actual=$?
  [[ $actual == "$status" && $OUTPUT == *"$text"* ]] \
    || die "expected status $status and \"$text\" of start-replication.sh $*, got status $actual and:"$'\n'"$OUTPUT"
  say "start-replication.sh $*: $status, \"$text\""
}

everything_runs() {
  local component
  for component in "${ALL_COMPONENTS[@]}" watcher; do
    process_id "$component" >/dev/null || die "$component does not run after:"$'\n'"$OUTPUT"
  done
}

# The errors that a story has provoked are not those of the next one.
errors_forget() {
  local log
  for log in "$RUN_DIR"/log/*.log; do : >"$log"; done
}

apply_block() {
  in_b "alter table payments add constraint not_this_one check (description <> 'not this one')"
  in_a "insert into payments (user_id, amount, currency, description) select id, 1, 'EUR', 'not this one' from users limit 1"
  check_says 2 "apply in B is blocked"
}

story_of_starts_while_apply_is_blocked() {
  apply_block
  quietly "$ROOT/stop-replication.sh"
  start_says 3 "not_this_one"
  everything_runs
  quietly "$ROOT/stop-replication.sh" inbox-processor
  start_says 3 "All is left running" inbox-processor
  everything_runs
  in_b "alter table payments drop constraint not_this_one" # what the message asks for, and B is up to take it
  quietly "$ROOT/start-replication.sh" inbox-processor # waits until it is healthy
  errors_forget
  check_says 0 "B is what A was a moment ago"
}

# As where no event trigger sees the DROP.
story_of_a_start_while_an_attached_table_is_gone() {
  in_a "create table gone (id int primary key); select replication.attach('gone')" >/dev/null
  in_a "drop table gone; create table gone (id int primary key)" >/dev/null 2>&1
  quietly "$ROOT/stop-replication.sh"
  start_says 3 "the table that was replicated under this name was dropped"
  everything_runs
  in_a "select replication.detach('gone'); drop table gone" >/dev/null
  quietly "$ROOT/stop-replication.sh" outbox-publisher # its next audit would come within a minute
  quietly "$ROOT/start-replication.sh" outbox-publisher
  errors_forget
  check_says 0 "B is what A was a moment ago"
}

# A service that exits at once is not restarted in a loop, and takes no server with it.
story_of_a_service_that_does_not_start() {
  quietly "$ROOT/stop-replication.sh"
  # shellcheck disable=SC2030,SC2031 # for this start only
  (export BATCH_SIZE=0 && start_says 1 "The start failed: outbox-publisher exited")
  in_a "select" >/dev/null
  in_b "select" >/dev/null
  check_says 2 "outbox-publisher: its last start failed"
  quietly "$ROOT/start-replication.sh"
  errors_forget
  check_says 0 "B is what A was a moment ago"
}
