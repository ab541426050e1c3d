# shellcheck shell=bash
# What check-replication.sh says of somebody's own databases. Sourced by scripts/test-adopting.sh, between two sections of
# the document.

readonly CHECK_DEADLINE_S=60

sql() { psql "$1" --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --command="$2"; }

# own_check_says STATUS TEXT [ARGUMENT…]: within the deadline. Leaves what it prints in OUTPUT.
own_check_says() {
  local status=$1 text=$2 actual begun_s=$SECONDS
  shift 2
  while true; do
    actual=0
    OUTPUT=$(SOURCE_DATABASE_URL=${CHECKED_SOURCE:-$SOURCE} TARGET_DATABASE_URL=${CHECKED_TARGET:-$TARGET} "$ROOT/check-replication.sh" "$@" 2>&1) || actual=$?
    if [[ $actual == "$status" && $OUTPUT == *"$text"* ]]; then
      say "check-replication.sh: $status, \"$text\""
      return
    fi
    ((SECONDS - begun_s < CHECK_DEADLINE_S)) || die "expected status $status and \"$text\", got status $actual and:"$'\n'"$OUTPUT"
    sleep 1.5
  done
}

story_of_a_check_of_ones_own() {
  local health=(--health="$RUN_DIR/reader/publisher.health" --health="$RUN_DIR/reader/processor.health")
  own_check_says 0 "the services named are healthy" "${health[@]}"
  [[ $OUTPUT == *"shop.country"*"equal"* ]] || die "the check does not compare the attached tables:"$'\n'"$OUTPUT"
  own_check_says 0 "the services were not looked at"
  own_check_says 3 "does not exist" --health="$RUN_DIR/reader/none.health"

  sql "$TARGET" "alter table pgbench_tellers add constraint not_this_one check (tbalance <> 4711)"
  sql "$SOURCE" "update pgbench_tellers set tbalance = 4711 where tid = 1"
  own_check_says 2 "apply in B is blocked"
  own_check_says 2 "degraded" "${health[@]}"
  sql "$TARGET" "alter table pgbench_tellers drop constraint not_this_one; select replication.retry_hold()" >/dev/null
  own_check_says 0 "as far as the databases tell"

  sql "$TARGET" "set session_replication_role = replica; delete from pgbench_history where id = (select min(id) from pgbench_history)"
  own_check_says 2 "pgbench_history: row counts differ by 1, and B's position is not moving"
  [[ $OUTPUT == *"select replication.resend('public.pgbench_history')"* ]] || die "no remedy:"$'\n'"$OUTPUT"
  sql "$SOURCE" "select replication.resend('public.pgbench_history')" >/dev/null
  own_check_says 0 "as far as the databases tell"

  sql "$TARGET" "select replication.set_aside('a test', 'x')" >/dev/null
  own_check_says 1 "1 unacknowledged messages in quarantine"
  sql "$TARGET" "select replication.quarantine_acknowledge()" >/dev/null

  sql "$TARGET" "select replication.pause('a test')" >/dev/null
  own_check_says 1 "applying is paused in B since" "${health[@]}"
  [[ $OUTPUT != *degraded* ]] || die "a pause counts as trouble of the service:"$'\n'"$OUTPUT"
  sql "$TARGET" "select replication.resume()" >/dev/null
  sql "$SOURCE" "select replication.pause('a test')" >/dev/null
  own_check_says 1 "publishing is paused in A since" "${health[@]}"
  sql "$SOURCE" "select replication.resume()" >/dev/null
  own_check_says 0 "the services named are healthy" "${health[@]}"

  sql "$SOURCE" "alter sequence replication.outbox_event_id_seq cache 2"
  own_check_says 2 "A does not capture every change"
  sql "$SOURCE" "alter sequence replication.outbox_event_id_seq cache 1"

  kill -STOP "$(<"$RUN_DIR/reader/processor.pid")"
  sql "$SOURCE" "update pgbench_tellers set tbalance = 1 where tid = 1"
  own_check_says 1 "B is 1"
  own_check_says 2 "no health report for" "${health[@]}"
  kill -CONT "$(<"$RUN_DIR/reader/processor.pid")"
  own_check_says 0 "as far as the databases tell"

  # Who cannot look does not know.
  CHECKED_TARGET=postgres://postgres:wrong@127.0.0.1:$POSTGRES_B_PORT/own own_check_says 3 "B cannot be looked at"
  CHECKED_SOURCE=postgres://postgres@127.0.0.1:1/own own_check_says 3 "A cannot be looked at"
  sql "$SOURCE" "create role onlooker login password 'onlooker'"
  CHECKED_SOURCE=postgres://onlooker:onlooker@127.0.0.1:$POSTGRES_A_PORT/own own_check_says 3 "A cannot be looked at: permission denied"
  sql "$SOURCE" "grant usage on schema replication to onlooker; grant select on all tables in schema replication to onlooker"
  CHECKED_SOURCE=postgres://onlooker:onlooker@127.0.0.1:$POSTGRES_A_PORT/own own_check_says 3 "attached tables may not be read by this role"
  sql "$SOURCE" "drop owned by onlooker; drop role onlooker"
  own_check_says 0 "as far as the databases tell"
}
