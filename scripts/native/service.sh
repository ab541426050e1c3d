# shellcheck shell=bash
# The three services as plain processes. Their settings in the environment or in .env are passed on
# unchanged; what depends on the other components is set here.

source "$ROOT/scripts/health.sh"
source "$ROOT/scripts/signing.sh"

service_binary() { printf '%s/release/%s' "${CARGO_TARGET_DIR:-$ROOT/target}" "$1"; }

service_start() (
  component=$1 database=postgres-a zone=a
  [[ $component != inbox-processor ]] || database=postgres-b zone=b
  DATABASE_URL=$(service_database_url "$database")
  NATS_URL=$(service_nats_urls "$zone")
  RUST_LOG=${RUST_LOG:-info}
  HEALTH_FILE=$RUN_DIR/$component.health
  export DATABASE_URL NATS_URL NATS_USER=$component RUST_LOG HEALTH_FILE
  signing_key_export
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

service_healthy() { health_file_is_ok "$RUN_DIR/$1.health"; }

service_purge() { :; }
