#!/usr/bin/env bash
# Usage: scripts/test-monitoring.sh
#
# Tests what monitoring/ has, by a Prometheus of its own that scrapes a demo of its own: its rules by promtool, what the
# services print, every metric of docs/monitoring.md, every query of the dashboard, and every alert, which must fire for
# its fault and end with it. A step of test-replication.sh. TEST_PORT_OFFSET moves its ports.
#
# So that a fault is seen within seconds, Prometheus gets a copy of alerts.yml with these changes and no others:
#   for: …                       -> for: 1s
#   ranges of minutes, as [2m]   -> [20s]
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/test-databases.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/packages.sh"
source "$ROOT/scripts/wait.sh"

readonly PORT_OFFSET=$((${TEST_PORT_OFFSET:-400} + 650)) # neither the demo's ports nor those of other tests
# Beside the one of the demo.
readonly OWN_PORT=$((9091 + PORT_OFFSET))
# Of a second publisher, which only some faults need.
readonly STRAY_PORT=$((9104 + PORT_OFFSET))
readonly MONITORING=$ROOT/monitoring
readonly DEADLINE_S=100
readonly SHORTENED=(-e 's/^( +for: ).*/\11s/' -e 's/\[[0-9]+m\]/[20s]/g')

declare -A FIRED=()

own_settings_load() {
  export RUN_DIR=$ROOT/.run/monitoring-test ENV_FILE=/dev/null GENERATION_INTERVAL=0.05
  # Full within hours, if B takes nothing.
  export OUTBOX_DISK_BYTES=100000000
  settings_move_ports "$PORT_OFFSET"
  settings_load
  layer_load native
}

quietly() {
  local output
  output=$("$@" 2>&1) || die "$* failed:"$'\n'"$output"
}

# until_true WHAT COMMAND…: waits until the command succeeds.
until_true() {
  local what=$1 begun_s=$SECONDS
  shift
  until "$@"; do
    ((SECONDS - begun_s < DEADLINE_S)) || die "still waiting after $DEADLINE_S s: $what"
    sleep 0.3
  done
}

tools_require() {
  local missing=()
  type -P prometheus promtool >/dev/null || missing+=(prometheus)
  type -P jq >/dev/null || missing+=(jq)
  packages_install "${missing[@]}"
}

# --- Files ---------------------------------------------------------------------------------------------

test_rules() {
  local anchor
  promtool check rules "$MONITORING/alerts.yml"
  promtool test rules "$MONITORING/alerts_test.yml"
  while read -r anchor; do
    grep --quiet --line-regexp --ignore-case "### $anchor" "$ROOT/docs/operations.md" \
      || die "alerts.yml leads to docs/operations.md#$anchor, and there is no such heading"
  done < <(sed --quiet 's/^ *runbook_url: docs\/operations.md#//p' "$MONITORING/alerts.yml")
  [[ $(grep --count 'alert: ' "$MONITORING/alerts.yml") == "$(grep --count 'runbook_url: docs/operations.md#' "$MONITORING/alerts.yml")" ]] \
    || die "an alert of alerts.yml has no runbook"
}

# --- Prometheus ----------------------------------------------------------------------------------------

# The demo's, moved, and a second publisher.
targets_print() {
  local line
  while IFS= read -r line; do
    if [[ $line =~ ^(.*localhost:)([0-9]+)(.*)$ ]]; then
      line=${BASH_REMATCH[1]}$((BASH_REMATCH[2] + PORT_OFFSET))${BASH_REMATCH[3]}
    fi
    printf '%s\n' "$line"
  done <"$MONITORING/targets.yml"
  printf '%s\n' "- targets: [localhost:$STRAY_PORT]" "  labels: { job: outbox-publisher, replication: demo }"
}

prometheus_begin() {
  local directory=$RUN_DIR/prometheus
  mkdir -p "$directory"
  sed 's/_interval: .*/_interval: 1s/' "$MONITORING/prometheus.yml" >"$directory/prometheus.yml"
  sed --regexp-extended "${SHORTENED[@]}" "$MONITORING/alerts.yml" >"$directory/alerts.yml"
  targets_print >"$directory/targets.yml"
  quietly promtool check config "$MONITORING/prometheus.yml"
  quietly promtool check config "$directory/prometheus.yml"
  prometheus --config.file="$directory/prometheus.yml" --storage.tsdb.path="$directory/data" \
    --web.listen-address="127.0.0.1:$OWN_PORT" --log.level=warn >"$directory/log" 2>&1 &
  PROMETHEUS_PID=$!
  until_true "Prometheus is ready (its log: $directory/log)" curl --silent --fail --output /dev/null "$(prometheus_url /-/ready)"
}

prometheus_url() { printf 'http://127.0.0.1:%s%s' "$OWN_PORT" "$1"; }

# Prints what Prometheus answers to an expression, as JSON.
query() {
  curl --silent --max-time 10 --data-urlencode "query=$1" "$(prometheus_url /api/v1/query)"
}

# Whether an expression has a result now.
is_true() { [[ $(query "$1" | jq '.data.result | length') -gt 0 ]]; }

# The demo's own, as start-replication.sh --monitoring starts it.
test_monitoring_of_the_demo() {
  local output rules
  output=$("$ROOT/start-replication.sh" --native --monitoring 2>&1) || die "the demo did not start with --monitoring:"$'\n'"$output"
  [[ $output == *"Prometheus     http://localhost:$PROMETHEUS_PORT/alerts"* && $output == *"import monitoring/dashboard.json"* ]] \
    || die "the start does not say where Prometheus is, and what is missing:"$'\n'"$output"
  until_true "it scrapes the three services" demo_scrapes 3
  rules=$(curl --silent "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/rules" | jq '[.data.groups[].rules[]] | length')
  [[ $rules == "$(grep --count 'alert: ' "$MONITORING/alerts.yml")" ]] || die "it has $rules rules"
  output=$("$ROOT/check-replication.sh" 2>&1) || true
  [[ $output == *"monitoring-prometheus"* && $output != *"monitoring-grafana"* ]] || die "the check does not show it:"$'\n'"$output"
  [[ $("$ROOT/logs.sh" monitoring-prometheus) != *level=error* ]] || die "it logs errors: $("$ROOT/logs.sh" monitoring-prometheus)"
  quietly "$ROOT/stop-replication.sh" monitoring-prometheus
  quietly "$ROOT/start-replication.sh"
  output=$("$ROOT/check-replication.sh" 2>&1) || true
  [[ $output != *"monitoring-"* ]] || die "the check speaks of what nobody wants:"$'\n'"$output"
  say "start, check, logs and stop know it"
}

demo_scrapes() {
  [[ $(curl --silent --data-urlencode 'query=sum(up)' "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query" | jq --raw-output '.data.result[0].value[1]') == "$1" ]]
}

# --- What the services print -----------------------------------------------------------------------------

test_metrics_of_each_service() {
  local service text
  for service in "${SERVICE_COMPONENTS[@]}"; do
    text=$(curl --silent --show-error --fail --max-time 5 "http://127.0.0.1:$(component_port "$service" HTTP_PORT)/metrics")
    promtool check metrics <<<"$text" || die "promtool refuses what $service prints: the reason is above"
    say "$service: $(grep --count '^# TYPE' <<<"$text") metrics"
  done
}

# The name of each that docs/monitoring.md lists.
# shellcheck disable=SC2016 # the backquotes are Markdown's
documented_names() {
  sed --quiet 's/^| \(`[a-z_]*[`{][^|]*\)|.*/\1/p' "$ROOT/docs/monitoring.md" | grep --only-matching '`[a-z_]\+' | tr --delete '`' \
    | sed '/^process_/!s/^/replication_/' | sort
}

test_every_name_is_known_to_prometheus() {
  local known missing
  known=$(query 'count by (__name__) (last_over_time({__name__=~"(replication|process)_.+"}[10m]))' \
    | jq --raw-output '.data.result[].metric.__name__' | sed 's/_bucket$//' | sort --unique)
  missing=$(comm -23 <(documented_names) <(printf '%s\n' "$known"))
  [[ -z $missing ]] || die "Prometheus has never seen these of docs/monitoring.md:"$'\n'"$missing"
  say "Prometheus has seen all $(documented_names | wc --lines) names of docs/monitoring.md"
}

# --- The dashboard ---------------------------------------------------------------------------------------

# As Grafana asks. A panel that may be empty says so in its description.
test_dashboard() {
  local title empty expression answer count=0
  while IFS=$'\t' read -r title empty expression; do
    expression=${expression//\$replication/.*} expression=${expression//\$__rate_interval/20s}
    answer=$(query "$expression")
    [[ $(jq --raw-output .status <<<"$answer") == success ]] || die "the dashboard's \"$title\" asks $expression, and Prometheus says: $answer"
    $empty || [[ $(jq '.data.result | length' <<<"$answer") -gt 0 ]] || die "the dashboard's \"$title\" has no data: $expression"
    count=$((count + 1))
  done < <(jq --raw-output '.panels[] | .title as $title | (.description // "" | contains("Empty while all is well")) as $empty
    | .targets[]? | [$title, $empty, .expr] | @tsv' "$MONITORING/dashboard.json")
  ((count > 40)) || die "the dashboard has $count queries"
  [[ $(jq '[.panels[] | select(.type != "row") | select(.fieldConfig.defaults.unit == null or .datasource.uid != "${datasource}")] | length' "$MONITORING/dashboard.json") == 0 ]] \
    || die "a panel of the dashboard has no unit, or another datasource than the variable"
  say "$count queries of the dashboard are answered"
}

# --- Faults ----------------------------------------------------------------------------------------------

# fires NAME SEVERITY: waits until the alert fires.
fires() {
  local begun_ms
  begun_ms=$(now_ms)
  until_true "the alert $1 ($2) fires" is_true "ALERTS{alertname=\"$1\",severity=\"$2\",alertstate=\"firing\"}"
  FIRED[$1/$2]=true
  say "$1 ($2) fires, after $(seconds_since "$begun_ms") s"
}

restarted() { is_true "process_start_time_seconds{job=\"$1\"} > $2"; }

# restart SERVICE: and waits until Prometheus has seen it.
restart() {
  local begun_s=$EPOCHREALTIME
  component_stop "$1"
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
  component_stop outbox-publisher
  fires ServiceDown page
  fires SourceSilent page
  in_b "alter table users drop constraint nobody"
  component_stop inbox-processor
  # As after a failover, which makes another timeline.
  in_a "update replication.progress set timeline = 99"
  component_start outbox-publisher
  fires TimelineGateClosed page
  component_stop postgres-b
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

clean_up() {
  local pid
  for pid in "${STRAY_PID:-}" "${PROMETHEUS_PID:-}"; do
    [[ -z $pid ]] || { kill -TERM "$pid" && wait "$pid"; } 2>/dev/null || true
  done
  rm -rf "$RUN_DIR/prometheus" "$RUN_DIR/log/stray.log"
  "$ROOT/stop-replication.sh" --purge >/dev/null 2>&1 || true
  [[ ! -e $RUN_DIR ]] || die "the purge left something in $RUN_DIR: $(ls -R "$RUN_DIR")"
}

main() {
  case ${1:-} in
    '') ;;
    -h | --help) print_help "$0" && exit ;;
    *) die_usage "There is no option or argument '$1'." ;;
  esac
  own_settings_load
  tools_require
  test_rules
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP
  heading "A demo, and a Prometheus that scrapes it"
  test_monitoring_of_the_demo
  long_transaction_begin
  prometheus_begin
  test_metrics_of_each_service
  heading "Each alert, by its fault"
  test_alerts_of_what_somebody_did
  test_alerts_of_a_target_that_takes_nothing
  test_alerts_of_services_that_are_away
  test_every_alert_has_fired
  test_alerts_end
  heading "What Prometheus has"
  test_every_name_is_known_to_prometheus
  test_dashboard
}

main "$@"
