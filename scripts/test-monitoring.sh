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
source "$ROOT/scripts/test-monitoring/prometheus.sh"
source "$ROOT/scripts/test-monitoring/faults.sh"

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
  # A changed row is found within seconds.
  export VERIFY_INTERVAL=1 VERIFY_ROWS=5000
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
  test_alerts_of_the_verification
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
