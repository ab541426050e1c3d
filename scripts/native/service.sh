# shellcheck shell=bash
# The three services as plain processes. Their settings in the environment or in .env are passed on
# unchanged; what depends on the other components is set here.

readonly HEALTH_MAX_AGE_S=5

service_binary() { printf '%s/release/%s' "${CARGO_TARGET_DIR:-$ROOT/target}" "$1"; }

service_start() (
  component=$1 database=postgres-a zone=a
  [[ $component != inbox-processor ]] || database=postgres-b zone=b
  DATABASE_URL=$(service_database_url "$database")
  NATS_URL=$(service_nats_urls "$zone")
  NATS_USER=replication
  RUST_LOG=${RUST_LOG:-info}
  HEALTH_FILE=$RUN_DIR/$component.health
  export DATABASE_URL NATS_URL NATS_USER RUST_LOG HEALTH_FILE
  rm -f "$HEALTH_FILE"
  process_start "$component" "$(service_binary "$component")"
)

service_database_url() {
  printf 'postgres://postgres:%s@127.0.0.1:%s/transactions' "$POSTGRES_PASSWORD" "$(component_port "$1" PORT)"
}

# The client URLs of a zone's three nodes, without credentials, separated by commas.
service_nats_urls() {
  local node urls=
  for node in 1 2 3; do urls+=",nats://127.0.0.1:$(component_port "nats-$1-$node" PORT)"; done
  printf '%s' "${urls#,}"
}

service_stop() { process_stop "$1" TERM 30; }

# A service writes `ok` or `degraded: <reason>` into its health file every second.
service_healthy() {
  local file=$RUN_DIR/$1.health line='' age_s
  [[ -e $file ]] || {
    printf 'no health report yet\n'
    return 1
  }
  age_s=$((EPOCHSECONDS - $(stat --format=%Y "$file")))
  IFS= read -r line <"$file" || true
  if ((age_s >= HEALTH_MAX_AGE_S)); then
    printf 'no health report for %d s (last: %s)\n' "$age_s" "$line"
    return 1
  fi
  [[ $line == ok ]] && return 0
  printf '%s\n' "${line:-empty health report}"
  return 1
}

service_purge() { :; }
