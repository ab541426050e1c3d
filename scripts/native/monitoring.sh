# shellcheck shell=bash
# Prometheus as a plain process, with what monitoring/ has. Debian has no Grafana.

source "$ROOT/scripts/monitoring.sh"

monitoring_offered() {
  warn "Grafana runs as a container only: import monitoring/dashboard.json into one of yours, with http://localhost:$PROMETHEUS_PORT as its Prometheus."
  printf 'monitoring-prometheus\n'
}

monitoring_start() {
  local directory=$RUN_DIR/data/$1
  [[ $1 == monitoring-prometheus ]] || die "Grafana runs as a container only: import monitoring/dashboard.json into one of yours."
  install --directory --mode=700 "$directory"
  cp "$ROOT"/monitoring/{prometheus,alerts}.yml "$directory/"
  monitoring_targets_print >"$directory/targets.yml"
  process_start "$1" "$(type -P prometheus)" --config.file="$directory/prometheus.yml" --storage.tsdb.path="$directory/data" \
    --web.listen-address="127.0.0.1:$PROMETHEUS_PORT" --log.level=warn
}

# As monitoring/targets.yml, with the ports of this demo.
monitoring_targets_print() {
  local service
  for service in "${SERVICE_COMPONENTS[@]}"; do
    printf '%s\n' "- targets: [localhost:$(component_port "$service" HTTP_PORT)]" "  labels: { job: $service, replication: demo }"
  done
}

monitoring_stop() { process_stop "$1" TERM 30; }

monitoring_purge() { rm -rf "$RUN_DIR/data/$1"; }
