#!/usr/bin/env bash
# Usage: ./start-replication.sh [--native|--docker] [--tls|--no-tls] [--monitoring] [COMPONENT…]
#
# Starts the replication demo: two PostgreSQL servers, two NATS clusters of three nodes joined by
# gateways, and the three services. Waits until each is healthy, then prints where everything is.
# Missing packages are installed (as root) or named. Running it again is harmless.
# A component that dies later is restarted automatically.
#
#   COMPONENT   start only these, and leave the others as they are: postgres-a postgres-b
#               nats-a-1 nats-a-2 nats-a-3 nats-b-1 nats-b-2 nats-b-3
#               data-generator outbox-publisher inbox-processor
#   --native    as plain processes
#   --docker    as containers
#               Without either: as last time. The first time: as containers if a Docker engine is
#               available and has the images or can pull them, otherwise as plain processes.
#   --tls       encrypt all connections, with certificates that this makes: to both databases, from the services to NATS,
#               and between the NATS nodes
#   --no-tls    do not
#               Without either: as last time. The first time: not.
#   --monitoring  start a Prometheus as well, which scrapes the services and has the alerts of monitoring/, and as a container
#               a Grafana with the dashboard. They are components as the others: monitoring-prometheus monitoring-grafana
#
# Ports, passwords and other settings come from the environment or from .env; see .env.example.
# Nothing that runs is stopped because something is not healthy: what corrects it may be SQL in a server that runs. Only
# an interrupted start (Ctrl-C) stops what it has started.
#
# Exit status: 0 everything named is healthy; 1 something exited right after its start, or nothing was started; 2 usage;
# 3 everything runs, but something is not healthy (a service is degraded, for example because B rejects a row), and the
# last lines say what.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/layer.sh"
source "$ROOT/scripts/ports.sh"
source "$ROOT/scripts/start.sh"

parse_arguments() {
  local names=()
  LAYER='' TLS_WANTED='' MONITORING_WANTED=false
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --native | --docker)
        [[ -z $LAYER || $LAYER == "${1#--}" ]] || die_usage "--native and --docker exclude each other."
        LAYER=${1#--}
        ;;
      --tls | --no-tls)
        [[ -z $TLS_WANTED || $TLS_WANTED == "$1" ]] || die_usage "--tls and --no-tls exclude each other."
        TLS_WANTED=$1
        ;;
      --monitoring) MONITORING_WANTED=true ;;
      -*) die_usage "There is no option '$1'." ;;
      *) names+=("$1") ;;
    esac
    shift
  done
  components_choose "${names[@]}"
}

monitoring_add() {
  local component
  for component in $(monitoring_offered); do
    [[ " ${COMPONENTS[*]} " == *" $component "* ]] || COMPONENTS+=("$component")
  done
}

print_summary() {
  # The demo's password is public; psql asks for any other.
  local user=postgres nats=nats suffix='' quote=''
  [[ $POSTGRES_PASSWORD != password ]] || user=postgres:password
  ! tls_is_on || nats=tls quote=\' suffix="?sslmode=verify-full&sslrootcert=$(tls_directory)/ca.crt"
  heading "Running"
  printf '  %s\n' \
    "page           http://localhost:$OUTBOX_PUBLISHER_HTTP_PORT (as A knows it), http://localhost:$INBOX_PROCESSOR_HTTP_PORT (as B does)" \
    "PostgreSQL A   psql ${quote}postgres://$user@localhost:$POSTGRES_A_PORT/transactions$suffix$quote" \
    "PostgreSQL B   psql ${quote}postgres://$user@localhost:$POSTGRES_B_PORT/transactions$suffix$quote" \
    "NATS A         $nats://localhost:$NATS_A_1_PORT   monitoring: http://localhost:$NATS_A_1_MONITOR_PORT" \
    "NATS B         $nats://localhost:$NATS_B_1_PORT   monitoring: http://localhost:$NATS_B_1_MONITOR_PORT   (has the stream EVENTS)" \
    "logs           $(layer_log_hint '<component>')"
  monitoring_summary_print
  heading "Next"
  printf '  %s\n' \
    "./check-replication.sh                 is B in sync with A?" \
    "./logs.sh outbox-publisher --follow    follow a component's log" \
    "./stop-replication.sh                  stop everything (--purge: and delete the data)"
}

monitoring_summary_print() {
  ! component_is_up monitoring-prometheus || say "Prometheus     http://localhost:$PROMETHEUS_PORT/alerts"
  ! component_is_up monitoring-grafana || say "Grafana        http://localhost:$GRAFANA_PORT"
}

main() {
  local status=0
  parse_arguments "$@"
  settings_load
  run_dir_lock
  layer_choose "$LAYER"
  tls_choose "$TLS_WANTED"
  ! $MONITORING_WANTED || monitoring_add
  ports_check "${COMPONENTS[@]}"
  layer_prepare "${COMPONENTS[@]}"
  layer_note
  components_start "${COMPONENTS[@]}" || status=$?
  layer_watch
  ((status == 1)) || print_summary
  ((status == 0)) || start_problems_print
  exit "$status"
}

main "$@"
