# shellcheck shell=bash
# The Prometheus of scripts/test-monitoring.sh, and what it must know. Needs that script.

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
  # shellcheck disable=SC2034 # test-monitoring.sh ends it
  PROMETHEUS_PID=$!
  until_true "Prometheus is ready (its log: $directory/log)" curl --silent --fail --max-time 5 --output /dev/null "$(prometheus_url /-/ready)"
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
  rules=$(curl --silent --max-time 5 "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/rules" | jq '[.data.groups[].rules[]] | length')
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
  [[ $(curl --silent --max-time 5 --data-urlencode 'query=sum(up)' "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query" | jq --raw-output '.data.result[0].value[1]') == "$1" ]]
}

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
