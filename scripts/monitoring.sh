# shellcheck shell=bash
# Prometheus and Grafana, whichever layer runs them. Needs settings.sh, loaded.

# True if it answers; otherwise prints why not, in one line.
monitoring_healthy() {
  local port=$PROMETHEUS_PORT path=/-/ready answer
  [[ $1 != monitoring-grafana ]] || port=$GRAFANA_PORT path=/api/health
  answer=$(curl --silent --show-error --fail --max-time 3 --output /dev/null "http://127.0.0.1:$port$path" 2>&1) && return 0
  printf 'it does not answer yet: %s\n' "$answer" | head -n 1
  return 1
}
