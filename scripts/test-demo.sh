#!/usr/bin/env bash
# Usage: scripts/test-demo.sh [STORY…]
#
# Runs the demo as an operator does, with ports and data of its own: starts it, lets
# check-replication.sh judge it in good and in bad times, stops it, starts it again, and deletes it. A
# step of test-replication.sh. TEST_PORT_OFFSET moves its ports, as it moves those of the stories.
#
#   STORY   run only these, after a good start: the name of a function below, without story_of_
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/test-databases.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/test-demo/starts.sh"
source "$ROOT/scripts/test-demo/truth.sh"

readonly PORT_OFFSET=$((${TEST_PORT_OFFSET:-400} + 500)) # neither the demo's ports nor those of the stories
readonly DEADLINE_S=60

own_settings_load() {
  export RUN_DIR=$ROOT/.run/demo-test ENV_FILE=/dev/null GENERATION_INTERVAL=0.05
  settings_move_ports "$PORT_OFFSET"
  settings_load
  layer_load native
}

# check_says STATUS TEXT: what check-replication.sh ends with and prints, within the deadline (a state that
# was just brought about needs a moment). Leaves all that it prints in OUTPUT.
check_says() {
  local status=$1 text=$2 actual begun_s=$SECONDS
  while true; do
    actual=0
    OUTPUT=$("$ROOT/check-replication.sh" 2>&1) || actual=$?
    if [[ $actual == "$status" && $OUTPUT == *"$text"* ]]; then
      say "check-replication.sh: $status, \"$text\""
      return
    fi
    ((SECONDS - begun_s < DEADLINE_S)) \
      || die "expected status $status and \"$text\", got status $actual and:"$'\n'"$OUTPUT"
    sleep 1.5 # a check takes a second of a processor
  done
}

quietly() {
  local output
  output=$("$@" 2>&1) || die "$* failed:"$'\n'"$output"
}

# On a first start, the services wait for each other without a word of warning.
story_of_a_good_start() {
  local service
  quietly "$ROOT/start-replication.sh" --native
  quietly "$ROOT/start-replication.sh" --native # a second run is harmless
  until (($(in_a 'select count(*) from users') > 50)); do sleep 0.2; done
  check_says 0 "B is what A was a moment ago"
  for service in outbox-publisher inbox-processor; do
    grep --quiet "messages are signed, and believed with a key of NATS_SIGNING_KEY_FILE" "$RUN_DIR/log/$service.log" \
      || die "$service does not sign its messages"
  done
  for service in "${SERVICE_COMPONENTS[@]}"; do
    ! grep --extended-regexp '^[^ ]+ +(WARN|ERROR) ' "$RUN_DIR/log/$service.log" || die "$service warns, although all is well"
  done
}

# No service logs in as a superuser, or has the password of one.
story_of_roles_with_few_rights() {
  local service owned
  for owned in in_a in_b; do
    [[ $("$owned" "select string_agg(distinct a.usename, ' ' order by a.usename) from pg_stat_activity a join pg_roles r on r.rolname = a.usename
                   where r.rolsuper and a.application_name in ('data-generator', 'outbox-publisher', 'inbox-processor')") == '' ]] \
      || die "a service is a superuser"
  done
  # A password of its own for everybody, so that each can be looked for.
  quietly "$ROOT/stop-replication.sh"
  quietly env POSTGRES_SERVICES_PASSWORD=of-the-services "$ROOT/start-replication.sh"
  for service in "${SERVICE_COMPONENTS[@]}"; do
    ! tr '\0' '\n' <"/proc/$(process_id "$service")/environ" | grep --quiet --extended-regexp '^(POSTGRES|NATS_ADMIN|NATS_CLUSTER)_.*PASSWORD=' \
      || die "$service has the password of somebody else"
  done
  check_says 0 "B is what A was a moment ago"
  # The next start, which replaces the watcher, has the usual password again.
  quietly "$ROOT/stop-replication.sh" "${SERVICE_COMPONENTS[@]}"
  quietly "$ROOT/start-replication.sh" "${SERVICE_COMPONENTS[@]}"
  check_says 0 "B is what A was a moment ago"
}

# Kills a component when it runs, and waits until it runs again by itself.
kill_and_wait() {
  local component=$1 pid begun_s=$SECONDS
  pid=$(<"$RUN_DIR/$component.pid")
  kill -KILL "$pid"
  until [[ $(<"$RUN_DIR/$component.pid") != "$pid" ]]; do
    ((SECONDS - begun_s < DEADLINE_S)) || die "$component was not started again after it died"
    sleep 0.1
  done
}

story_of_components_that_died() {
  kill_and_wait outbox-publisher
  kill_and_wait nats-b-1
  check_says 0 "restarts: 1"
}

story_of_a_service_that_keeps_dying() {
  kill_and_wait inbox-processor
  kill_and_wait inbox-processor
  kill_and_wait inbox-processor
  check_says 2 "inbox-processor: crash loop: died 3 times in a row"
  quietly "$ROOT/stop-replication.sh" inbox-processor
  check_says 1 "inbox-processor: stopped on purpose"
  quietly "$ROOT/start-replication.sh" inbox-processor
  check_says 0 "B is what A was a moment ago"
}

story_of_a_watcher_that_died() {
  kill -KILL "$(<"$RUN_DIR/watcher.pid")"
  check_says 1 "the watcher is not running"
  quietly "$ROOT/start-replication.sh"
  kill_and_wait data-generator
  check_says 0 "restarts: 1"
}

# A component that logs a lot does not fill the disk, and its last messages can still be read.
story_of_a_log_that_has_become_large() {
  local log=$RUN_DIR/log/data-generator.log begun_s=$SECONDS
  for _ in {1..110}; do printf '%100000s\n' 'a long line'; done >>"$log"
  until [[ -e $log.1 && $(stat --format=%s "$log") -lt 1000000 ]]; do
    ((SECONDS - begun_s < DEADLINE_S)) || die "the log was not rotated: $(ls -l "$RUN_DIR/log")"
    sleep 0.1
  done
  [[ $("$ROOT/logs.sh" data-generator --tail=1000) == *"GENERATION_INTERVAL 0.05"*"a long line"* ]] \
    || die "logs.sh does not show what was logged before the rotation"
  quietly "$ROOT/stop-replication.sh" data-generator
  quietly "$ROOT/start-replication.sh" data-generator
  [[ $("$ROOT/logs.sh" data-generator) == *"stop requested"* ]] || die "nothing is logged after the rotation"
  say "a log of 11 MB was rotated"
}

story_of_a_node_that_is_stopped() {
  quietly "$ROOT/stop-replication.sh" nats-b-2
  check_says 1 "nats-b-2: stopped on purpose"
  quietly "$ROOT/start-replication.sh" nats-b-2
  check_says 0 "B is what A was a moment ago"
}

story_of_an_outbox_that_nobody_takes() {
  quietly "$ROOT/stop-replication.sh" nats-b-1 nats-b-2 nats-b-3
  until (($(in_a 'select count(*) from outbox where processed = false') > 50)); do sleep 0.2; done
  check_says 2 "the outbox is not being published"
  [[ $OUTPUT =~ outbox\ KB/s\ +[1-9] && $OUTPUT =~ 'GB of disk free, enough for '[0-9]+' days with B down' ]] \
    || die "the check does not say how the outbox grows and how long the disk lasts:"$'\n'"$OUTPUT"
  quietly "$ROOT/start-replication.sh" nats-b-1 nats-b-2 nats-b-3
  check_says 0 "B is what A was a moment ago"
}

story_of_a_target_that_is_away() {
  # What B has confirmed has left A by then.
  in_a "select replication.prune_outbox(interval '0', 1000000)" >/dev/null
  quietly "$ROOT/stop-replication.sh" postgres-b
  check_says 1 "postgres-b: stopped on purpose"
  quietly "$ROOT/start-replication.sh" postgres-b
  check_says 0 "B is what A was a moment ago"
}

# A row that goes while B follows is put back as it was, unless A has changed and so brought it back since.
story_of_a_target_that_was_changed_under_load() {
  # Rows that the generator no longer changes: replication would bring a changed one back.
  in_b "create table kept as select * from payments where status <> 'pending' limit 3;
        delete from payments where id in (select id from kept)"
  check_says 2 "payments: row counts differ by 3, the same as"
  in_b "insert into payments select * from kept on conflict do nothing; drop table kept"
  check_says 0 "B is what A was a moment ago"
}

story_of_a_target_that_was_changed() {
  quietly "$ROOT/stop-replication.sh" data-generator
  check_says 1 "data-generator: stopped on purpose"
  in_b "create table kept as select * from payments limit 3;
        delete from payments where id in (select id from kept)"
  check_says 2 "payments: row counts differ by 3, and B's position is not moving"
  in_b "insert into payments select * from kept; drop table kept"
  check_says 1 "payments   equal"
}

# compare_says STATUS TEXT…
compare_says() {
  local status=$1 text actual=0
  OUTPUT=$("$ROOT/compare-replication.sh" 2>&1) || actual=$?
  for text in "${@:2}"; do
    [[ $actual == "$status" && $OUTPUT == *"$text"* ]] || die "expected status $status and \"$text\", got status $actual and:"$'\n'"$OUTPUT"
  done
  say "compare-replication.sh: $status, $(printf '"%s" ' "${@:2}")"
}

# As many rows as before, and others. What A has changed meanwhile does not count.
story_of_values_that_were_changed() {
  local changed gone
  compare_says 0 "public.payments          equal"
  quietly "$ROOT/stop-replication.sh" inbox-processor
  changed=$(in_a "select id from users limit 1") gone=$(in_a "select id from users offset 7 limit 1")
  in_a "update users set name = 'changed in A' where id not in ('$changed', '$gone')"
  in_b "set session_replication_role = replica; update users set name = 'changed in B' where id = '$changed';
        delete from users where id = '$gone'; insert into users (name, email) values ('made in B', 'made@b')"
  compare_says 1 "public.payments          equal" "rows that differ: 3" "($changed) has other values in B" "($gone) is missing in B" "is only in B"
  in_a "select replication.resend('users')" >/dev/null
  compare_says 2 "public.users             not compared: a TRUNCATE or resend in A is pending"
  quietly "$ROOT/start-replication.sh" inbox-processor
  check_says 1 "data-generator: stopped on purpose"
  compare_says 0 "public.users             equal"
}

story_of_a_capture_with_a_hole() {
  # The publisher's audit could log the hole as an error, which later stories would find.
  quietly "$ROOT/stop-replication.sh" outbox-publisher
  in_a "alter table payments disable trigger replication_insert"
  check_says 2 "A does not capture every change: public.payments: its capture trigger for insert is not enabled always"
  in_a "alter table payments enable always trigger replication_insert"
  check_says 2 "public.payments: changes of it escaped while its capture triggers were off"
  compare_says 0 "A's replication.capture_problem no longer reports it."
  quietly "$ROOT/start-replication.sh" outbox-publisher
  check_says 1 "data-generator: stopped on purpose"
}

story_of_a_stop_and_a_start() {
  local users
  users=$(in_b 'select count(*) from users')
  quietly "$ROOT/stop-replication.sh"
  check_says 1 "inbox-processor: stopped on purpose"
  quietly "$ROOT/start-replication.sh"
  check_says 0 "B is what A was a moment ago"
  (($(in_b 'select count(*) from users') >= users / 2)) || die "the data was not kept"
}

story_of_a_database_that_died() {
  kill_and_wait postgres-b
  check_says 0 "restarts: 1" # B follows again, and what its dying sessions wrote is no error besides
}

story_of_another_history() {
  local name
  quietly "$ROOT/stop-replication.sh" data-generator outbox-publisher inbox-processor
  in_a "update replication.progress set timeline = 99"
  check_says 2 "nothing is published until B confirms a tick of A's history"
  quietly "$ROOT/start-replication.sh"
  check_says 0 "B is what A was a moment ago" # B has confirmed one
  # Nothing of this history stays in the stream: B would drop it with an error, once it follows another one.
  quietly "$ROOT/stop-replication.sh" data-generator
  until (($(in_a 'select count(*) from outbox where not confirmed') == 0)); do sleep 0.2; done
  quietly "$ROOT/stop-replication.sh" outbox-publisher inbox-processor
  # As after a failover that lost ticks: the same numbers, other ids.
  in_a "update replication.tick set tick_id = gen_random_uuid()"
  check_says 2 "is not part of the history of this source"
  # As a backup of B that is too old.
  in_a "select replication.prune_outbox(interval '0', 1000000)" >/dev/null
  in_b "update replication.position set received_tick = 0, received_ordinal = received_total, applied_tick = null, applied_id = null"
  check_says 2 "the target is older than OUTBOX_RETENTION"
  name=$(in_a "select replication.start_over()")
  in_b "select replication.adopt_source('$name')" >/dev/null
  quietly "$ROOT/start-replication.sh"
  check_says 0 "B is what A was a moment ago"
}

# A processor of another database, on the same NATS.
story_of_a_stray_target() {
  local pid
  in_b "create database staging"
  # shellcheck disable=SC2031 # the password changed in nats_start's subshell is not meant
  DATABASE_URL=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_B_PORT/staging NATS_URL=$(service_nats_urls b) \
    NATS_USER=inbox-processor NATS_SIGNING_KEY_FILE=$RUN_DIR/secrets/signing.keys NATS_PASSWORD=$NATS_PASSWORD "$(service_binary inbox-processor)" 2>/dev/null &
  pid=$!
  check_says 1 "outbox-publisher: degraded: confirms: ignoring the target"
  kill -TERM "$pid"
  wait "$pid" || die "the stray processor did not end cleanly"
}

# A demo of its own.
story_of_tls() {
  local question component kind service
  heading "TLS"
  quietly "$ROOT/start-replication.sh" --native --tls
  check_says 0 "B is what A was a moment ago"
  question="select bool_and(ssl) and count(*) > 1 from pg_stat_ssl join pg_stat_activity using (pid) where application_name <> 'psql' and backend_type = 'client backend'"
  [[ $(in_a "$question") == t && $(in_b "$question") == t ]] || die "a service speaks to a database without TLS"
  for component in "${NATS_COMPONENTS[@]}"; do
    ! grep "TLS.* handshake error" "$RUN_DIR/log/$component.log" || die "$component was spoken to as if it had no TLS"
    [[ $(greeting_of "$(component_port "$component" PORT)") == *'"tls_required":true'* ]] || die "$component takes clients without TLS"
    for kind in CLUSTER_PORT GATEWAY_PORT; do
      # Nodes begin with TLS.
      [[ $(timeout 10 openssl s_client -connect "127.0.0.1:$(component_port "$component" "$kind")" -CAfile "$(tls_directory)/ca.crt" </dev/null 2>&1) == *"Verify return code: 0 (ok)"* ]] \
        || die "$component has no TLS at its $kind"
    done
  done
  for service in "${SERVICE_COMPONENTS[@]}"; do
    ! grep --ignore-case "plain text" "$RUN_DIR/log/$service.log" || die "$service warns of plain text"
  done
  start_says 1 "already runs with TLS on" --no-tls
  quietly "$ROOT/stop-replication.sh"
  errors_forget
  quietly "$ROOT/start-replication.sh" --no-tls
  check_says 0 "B is what A was a moment ago"
  [[ $(greeting_of "$NATS_A_1_PORT") != *tls_required* ]] || die "--no-tls did not switch TLS off"
}

# What a NATS server says first at one of its ports.
greeting_of() {
  local line
  exec {GREETED}<>"/dev/tcp/127.0.0.1/$1"
  IFS= read -r -t 5 -u "$GREETED" line
  exec {GREETED}>&-
  printf '%s' "$line"
}

story_of_a_purge() {
  quietly "$ROOT/stop-replication.sh" --purge
  [[ ! -e $RUN_DIR ]] || die "--purge left something in $RUN_DIR: $(ls "$RUN_DIR")"
}

# In this order.
readonly STORIES=(
  roles_with_few_rights
  components_that_died
  a_service_that_keeps_dying
  a_watcher_that_died
  a_log_that_has_become_large
  a_node_that_is_stopped
  an_outbox_that_nobody_takes
  a_target_that_is_away
  a_target_that_was_changed_under_load
  another_user
  outputs_that_take_nothing
  errors_of_others
  everything_that_died
  a_power_cut
  a_strict_umask
  starts_while_apply_is_blocked
  a_start_while_an_attached_table_is_gone
  a_service_that_does_not_start
  a_target_that_was_changed
  values_that_were_changed
  a_capture_with_a_hole
  a_stop_and_a_start
  a_database_that_died
  another_history
  a_stray_target
)

main() {
  local story stories=("$@")
  case ${1:-} in
    '') stories=("${STORIES[@]}") ;;
    -h | --help) print_help "$0" && exit ;;
    -*) die_usage "There is no option '$1'." ;;
  esac
  own_settings_load
  trap '"$ROOT/stop-replication.sh" --purge >/dev/null 2>&1 || true' EXIT
  story_of_a_good_start
  for story in "${stories[@]}"; do
    heading "${story//_/ }"
    "story_of_$story"
  done
  story_of_a_purge
  story_of_tls
  story_of_a_purge
}

main "$@"
