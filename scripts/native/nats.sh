# shellcheck shell=bash
# The NATS servers as plain processes: sets what their configuration files read from the environment.

nats_server() { type -P "$NATS_SERVER"; }

# Ends the script where another program than Debian's is set, and cannot be used.
nats_server_chosen_require() {
  local remedy="Fetch a server with scripts/install-servers.sh, or leave the setting at nats-server."
  [[ $NATS_SERVER != nats-server ]] || return 0
  nats_server >/dev/null || die "NATS_SERVER is '$NATS_SERVER', and there is no such program. $remedy"
  [[ $("$(nats_server)" --version 2>&1) == nats-server:\ v* ]] \
    || die "NATS_SERVER is '$NATS_SERVER', which does not say that it is a nats-server: $("$(nats_server)" --version 2>&1 | head -n 1). $remedy"
}

nats_start() (
  component=$1 zone=${1:5:1} node=${1:7:1}
  routes=() other_zone=b
  for other in 1 2 3; do
    [[ $other == "$node" ]] || routes+=("$(nats_url "cluster:$NATS_CLUSTER_PASSWORD" "nats-$zone-$other" CLUSTER_PORT)")
  done
  [[ $zone == a ]] || other_zone=a

  export NATS_NAME NATS_HOST NATS_STORE NATS_CLIENT_PORT NATS_MONITOR_PORT
  export NATS_CLUSTER_PORT NATS_CLUSTER_ADVERTISE NATS_ROUTE_1 NATS_ROUTE_2
  export NATS_GATEWAY_PORT NATS_GATEWAY_ADVERTISE NATS_GATEWAY_URL
  export NATS_TLS_CERT NATS_TLS_KEY NATS_TLS_CA
  export GOMAXPROCS=$NATS_GOMAXPROCS
  export TZ=UTC # nats-server logs in local time; all other logs are in UTC
  NATS_NAME=$component
  NATS_HOST=127.0.0.1
  NATS_STORE=$(nats_text "$RUN_DIR/data/$component")
  NATS_CLIENT_PORT=$(component_port "$component" PORT)
  NATS_MONITOR_PORT=$(component_port "$component" MONITOR_PORT)
  NATS_CLUSTER_PORT=$(component_port "$component" CLUSTER_PORT)
  NATS_CLUSTER_ADVERTISE=$(nats_text "127.0.0.1:$NATS_CLUSTER_PORT")
  NATS_ROUTE_1=$(nats_text "${routes[0]}")
  NATS_ROUTE_2=$(nats_text "${routes[1]}")
  NATS_GATEWAY_PORT=$(component_port "$component" GATEWAY_PORT)
  NATS_GATEWAY_ADVERTISE=$(nats_text "127.0.0.1:$(nats_gateway_door "$component")")
  gateway=nats://gateway:$NATS_CLUSTER_PASSWORD@127.0.0.1:$(nats_gateway_door "nats-$other_zone-$node")
  NATS_GATEWAY_URL=$(nats_text "$gateway")
  NATS_PASSWORD=$(nats_text "$NATS_PASSWORD")
  NATS_ADMIN_PASSWORD=$(nats_text "$NATS_ADMIN_PASSWORD")
  NATS_CLUSTER_PASSWORD=$(nats_text "$NATS_CLUSTER_PASSWORD")

  configuration=$ROOT/nats-config
  if tls_is_on; then
    configuration=$(tls_directory)
    NATS_TLS_CERT=$(nats_text "$configuration/nats-$zone.crt")
    NATS_TLS_KEY=$(nats_text "$configuration/nats-$zone.key")
    NATS_TLS_CA=$(nats_text "$configuration/ca.crt")
  fi

  install --directory --mode=700 "$RUN_DIR/data/$component"
  process_start "$component" "$(nats_server)" --config "$configuration/cluster-$zone.conf"
)

# NATS parses a variable's value as configuration: quotes make it a string, even if it looks like a number.
nats_text() { printf '"%s"' "$1"; }

# nats_url USER:PASSWORD COMPONENT PORT_KIND
nats_url() { printf 'nats://%s@127.0.0.1:%s' "$1" "$(component_port "$2" "$3")"; }

# The port at which the other zone reaches a node's gateway: its own, or that of a proxy of the fault suite.
nats_gateway_door() {
  local proxy
  proxy=$(component_variable "$1")_GATEWAY_PROXY
  printf '%s' "${!proxy:-$(component_port "$1" GATEWAY_PORT)}"
}

nats_stop() { process_stop "$1" TERM 30; }

nats_healthy() {
  local answer
  answer=$(nats_page "$1" '/healthz?js-enabled-only=true') && return 0
  printf 'unhealthy by its monitoring page: %s\n' "$answer"
  return 1
}

nats_purge() { rm -rf "$RUN_DIR/data/$1"; }
