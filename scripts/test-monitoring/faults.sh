# shellcheck shell=bash
# The fault of each alert, for scripts/test-monitoring.sh. Needs that script.

# fires NAME SEVERITY: waits until the alert fires.
fires() {
  local begun_ms
  begun_ms=$(now_ms)
  until_true "the alert $1 ($2) fires" is_true "ALERTS{alertname=\"$1\",severity=\"$2\",alertstate=\"firing\"}"
  FIRED[$1/$2]=true
  say "$1 ($2) fires, after $(seconds_since "$begun_ms") s"
}

# By the script, which keeps the watcher from starting it again at the same moment.
stop() { quietly "$ROOT/stop-replication.sh" "$1"; }

restarted() { is_true "process_start_time_seconds{job=\"$1\"} > $2"; }

# restart SERVICE: and waits until Prometheus has seen it.
restart() {
  local begun_s=$EPOCHREALTIME
  stop "$1"
  component_start "$1"
  until_true "Prometheus has seen that $1 was restarted" restarted "$1" "$begun_s"
}

# A publisher of another database, as if it were of this replication.
stray_publisher_begin() {
  in_a "create database other"
  # shellcheck disable=SC2031 # the password changed in nats_start's subshell is not meant
  DATABASE_URL=postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_A_PORT/other NATS_URL=$(service_nats_urls a) \
    NATS_USER=outbox-publisher NATS_PASSWORD=$NATS_PASSWORD NATS_SIGNING_KEY_FILE=$RUN_DIR/secrets/signing.keys \
    HTTP_ADDRESS=127.0.0.1:$STRAY_PORT OUTBOX_DISK_BYTES='' "$(service_binary outbox-publisher)" 2>"$RUN_DIR/log/stray.log" &
  STRAY_PID=$!
}

stray_publisher_end() {
  kill -TERM "$STRAY_PID"
  wait "$STRAY_PID" || die "the second publisher did not end cleanly: $RUN_DIR/log/stray.log"
  STRAY_PID=''
}

# It stays open until the test ends it. Nobody reads what it prints.
long_transaction_begin() {
  in_a "begin; select pg_current_xact_id(); select pg_sleep(1000)" >/dev/null 2>&1 &
  LONG_TRANSACTION_PID=$!
}

long_transaction_end() {
  in_a "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(1000)%' and pid <> pg_backend_pid()" >/dev/null
  wait "$LONG_TRANSACTION_PID" 2>/dev/null || true # it was ended
}

# What nobody has signed, and no publisher has written.
publish_garbage() {
  local line
  # shellcheck disable=SC2031 # the one changed in nats_start's subshell is not meant
  local password=$NATS_ADMIN_PASSWORD
  exec {NATS}<>"/dev/tcp/127.0.0.1/$NATS_B_1_PORT"
  printf 'CONNECT {"verbose":false,"user":"operator","pass":"%s"}\r\nPUB replication.events 7\r\ngarbage\r\nPING\r\n' \
    "$password" >&"$NATS"
  while IFS= read -r -t 5 -u "$NATS" line && [[ $line != PONG* ]]; do :; done
  exec {NATS}>&-
  [[ $line == PONG* ]] || die "NATS did not take the garbage"
}

test_alerts_of_the_verification() {
  until_true "all tables are verified" is_true 'count(replication_differing_rows == 0) == 2'
  in_b "update users set name = 'somebody else' where id = (select id from users order by id limit 1)"
  fires Differs ticket
  in_a "select replication.resend('public.users')" >/dev/null
  until_true "the tables are equal again" is_true 'count(replication_differing_rows == 0) == 2'
}

test_alerts_of_what_somebody_did() {
  fires ServiceDown ticket # the second publisher has not started yet
  publish_garbage
  stray_publisher_begin
  in_a "alter table payments disable trigger replication_insert"
  fires TwoLeaders page
  fires QuarantineUnseen ticket
  stray_publisher_end
  # Each start audits the capture.
  restart outbox-publisher
  restart outbox-publisher
  restart outbox-publisher
  fires CrashLoop page
  fires CaptureBroken page
  in_a "alter table payments enable always trigger replication_insert; select replication.resend('public.payments')" >/dev/null
}

test_alerts_of_a_target_that_takes_nothing() {
  in_b "alter table users add constraint nobody check (email is null) not valid"
  fires Held page
  fires NotReady ticket
  fires Stalled page
  fires LagHigh ticket
  fires OutboxFillsDisk ticket
  fires OutboxFillsDisk page
  fires LongTransaction ticket
}

test_alerts_of_services_that_are_away() {
  stop outbox-publisher
  fires ServiceDown page
  fires SourceSilent page
  in_b "alter table users drop constraint nobody"
  stop inbox-processor
  # As after a failover, which makes another timeline.
  in_a "update replication.progress set timeline = 99"
  component_start outbox-publisher
  fires TimelineGateClosed page
  # Without a target no round is complete: as if that had been so for two days.
  in_a "update replication.verified_table set verified_at = verified_at - interval '2 days'"
  fires VerifiedTooOld ticket
  stop postgres-b
  component_start inbox-processor
  fires NoLeader page
  fires TargetSilent page
}

test_alerts_end() {
  quietly "$ROOT/start-replication.sh" --native --monitoring
  in_b "select replication.quarantine_acknowledge()" >/dev/null
  long_transaction_end
  # The audit runs once a minute, and at each start.
  restart outbox-publisher
  until_true "no alert fires, but that the second publisher is away" \
    is_true 'absent(ALERTS{alertstate="firing",alertname!="ServiceDown"})'
  say "no alert fires any more"
}

test_every_alert_has_fired() {
  local alert
  while read -r alert; do
    [[ -n ${FIRED[$alert]:-} ]] || die "$alert of alerts.yml was not seen firing: add its fault here"
  done < <(sed --quiet --regexp-extended -e 's/^ +- alert: (.*)/\1/;T severity;h' -e ':severity' \
    -e 's/^ +labels: \{ severity: (.*) \}/\/\1/;T;H;x;s/\n//p' "$MONITORING/alerts.yml")
}
