# shellcheck shell=bash
# The three services as plain processes. Their settings in the environment or in .env are passed on
# unchanged; what depends on the other components is set here.

source "$ROOT/scripts/health.sh"
source "$ROOT/scripts/signing.sh"

service_binary() { printf '%s/release/%s' "${CARGO_TARGET_DIR:-$ROOT/target}" "$1"; }

service_start() (
  component=$1
  zone=$(service_zone "$component")
  DATABASE_URL=$(service_database_url "postgres-$zone" "$(service_role "$component")" "$POSTGRES_SERVICES_PASSWORD")
  NATS_URL=$(service_nats_urls "$zone")
  HEALTH_FILE=$RUN_DIR/$component.health
  HTTP_ADDRESS=127.0.0.1:$(component_port "$component" HTTP_PORT)
  export DATABASE_URL NATS_URL NATS_USER=$component RUST_LOG=${RUST_LOG:-info} HEALTH_FILE HTTP_ADDRESS
  signing_key_export
  service_tls_export
  # No service has the password of somebody else.
  unset POSTGRES_PASSWORD POSTGRES_SERVICES_PASSWORD NATS_ADMIN_PASSWORD NATS_CLUSTER_PASSWORD
  [[ $component != data-generator ]] || unset NATS_PASSWORD NATS_SIGNING_KEY_FILE
  rm -f "$HEALTH_FILE"
  process_start "$component" "$(service_binary "$component")"
)

# service_database_url COMPONENT ROLE PASSWORD
service_database_url() {
  printf 'postgres://%s:%s@127.0.0.1:%s/transactions' "$2" "$3" "$(component_port "$1" PORT)"
}

# An authority makes TLS a must, whatever the URLs say.
service_tls_export() {
  tls_is_on || return 0
  PGSSLMODE=verify-full PGSSLROOTCERT=$(tls_directory)/ca.crt NATS_CA_FILE=$(tls_directory)/ca.crt
  export PGSSLMODE PGSSLROOTCERT NATS_CA_FILE
}

# By the program that knows how, as the superuser.
database_prepare() (
  side=source
  [[ $1 != postgres-b ]] || side=target
  DATABASE_URL=$(service_database_url "$1" postgres "$POSTGRES_PASSWORD")
  export DATABASE_URL
  service_tls_export
  RUST_LOG=warn LOG_FORMAT=text timeout --foreground "$PREPARE_DEADLINE_S" "$(service_binary data-generator)" "prepare-$side" 2>&1 </dev/null
)

# The client URLs of a zone's three nodes, without credentials, separated by commas.
service_nats_urls() {
  local node urls=
  for node in 1 2 3; do urls+=",nats://127.0.0.1:$(component_port "nats-$1-$node" PORT)"; done
  printf '%s' "${urls#,}"
}

service_stop() { process_stop "$1" TERM 30; }

service_healthy() { health_file_is_ok "$RUN_DIR/$1.health"; }

service_purge() { :; }
