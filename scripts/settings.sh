# shellcheck shell=bash
# All settings of the scripts, each with its default. They come from the environment, else from
# .env, else from this table. .env.example describes them (scripts/test-scripts.sh compares the two).
# Settings of the services that are not in the table have their defaults in the services.

readonly SETTINGS=(
  RUN_DIR=.run
  POSTGRES_A_BIN=
  POSTGRES_B_BIN=
  NATS_SERVER=nats-server
  START_TIMEOUT=60

  POSTGRES_PASSWORD=password
  POSTGRES_SERVICES_PASSWORD=password
  POSTGRES_MAX_CONNECTIONS=100
  NATS_GOMAXPROCS=1
  NATS_PASSWORD=password123
  NATS_ADMIN_PASSWORD=password123
  NATS_CLUSTER_PASSWORD=password123
  NATS_SIGNING_KEY_FILE=

  POSTGRES_A_PORT=5432
  POSTGRES_B_PORT=5433

  NATS_A_1_PORT=4222
  NATS_A_2_PORT=4223
  NATS_A_3_PORT=4224
  NATS_B_1_PORT=4232
  NATS_B_2_PORT=4233
  NATS_B_3_PORT=4234

  NATS_A_1_MONITOR_PORT=8222
  NATS_B_1_MONITOR_PORT=8223
  NATS_A_2_MONITOR_PORT=8224
  NATS_A_3_MONITOR_PORT=8225
  NATS_B_2_MONITOR_PORT=8226
  NATS_B_3_MONITOR_PORT=8227

  NATS_A_1_CLUSTER_PORT=6222
  NATS_A_2_CLUSTER_PORT=6223
  NATS_A_3_CLUSTER_PORT=6224
  NATS_B_1_CLUSTER_PORT=6232
  NATS_B_2_CLUSTER_PORT=6233
  NATS_B_3_CLUSTER_PORT=6234

  NATS_A_1_GATEWAY_PORT=7222
  NATS_A_2_GATEWAY_PORT=7223
  NATS_A_3_GATEWAY_PORT=7224
  NATS_B_1_GATEWAY_PORT=7232
  NATS_B_2_GATEWAY_PORT=7233
  NATS_B_3_GATEWAY_PORT=7234

  OUTBOX_PUBLISHER_HTTP_PORT=9101
  INBOX_PROCESSOR_HTTP_PORT=9102
  DATA_GENERATOR_HTTP_PORT=9103

  PROMETHEUS_PORT=9090
  GRAFANA_PORT=3000
)

# settings_move_ports OFFSET: moves every port to its default plus OFFSET, for servers beside a demo.
settings_move_ports() {
  local setting
  for setting in "${SETTINGS[@]}"; do
    [[ $setting != *_PORT=* ]] || export "${setting%%=*}=$((${setting#*=} + $1))"
  done
}

# Reads ENV_FILE (default: .env of the checkout) and exports every setting.
settings_load() {
  local setting name
  env_file_read "${ENV_FILE:-$ROOT/.env}"
  for setting in "${SETTINGS[@]}"; do
    name=${setting%%=*}
    export "$name=${!name:-${setting#*=}}"
  done
  [[ $RUN_DIR == /* ]] || RUN_DIR=$ROOT/$RUN_DIR
  for name in POSTGRES_A_BIN POSTGRES_B_BIN NATS_SIGNING_KEY_FILE; do
    [[ -z ${!name} || ${!name} == /* ]] || export "$name=$ROOT/${!name}"
  done
  [[ $NATS_SERVER != */* || $NATS_SERVER == /* ]] || NATS_SERVER=$ROOT/$NATS_SERVER
  settings_check
  # A PGDATABASE or PGOPTIONS meant for something else must not reach these servers and psql.
  unset "${!PG@}"
}

# Lines NAME=value, as docker-compose reads them: no shell expansion. The environment wins.
env_file_read() {
  local file=$1 line name value number=0
  if [[ ! -f $file ]]; then
    [[ -z ${ENV_FILE:-} || -e $file ]] || die "ENV_FILE is $file, and there is no such file."
    return 0
  fi
  [[ -r $file ]] || die "$file cannot be read by $(user_name). Run this as the user who started the components, or make the file readable."
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1)) line=${line%$'\r'}
    ((number > 1)) || line=${line#$'\xef\xbb\xbf'} # a byte order mark, which some editors write
    [[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
    [[ $line =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] \
      || die "$file: line $number is not NAME=value." # without its text, which may be a password
    name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
    [[ -n ${!name+set} ]] || export "$name=$value"
  done <"$file"
}

settings_check() {
  local setting name value
  for setting in "${SETTINGS[@]}"; do
    name=${setting%%=*} value=${!name}
    case $name in
      *_PORT)
        [[ $value =~ ^[1-9][0-9]{0,4}$ && $value -le 65535 ]] \
          || die "$name is '$value'; allowed is a port from 1 to 65535."
        ;;
      POSTGRES_MAX_CONNECTIONS | NATS_GOMAXPROCS | START_TIMEOUT)
        [[ $value =~ ^[1-9][0-9]{0,4}$ ]] || die "$name is '$value'; allowed is a number from 1 to 99999."
        ;;
      *_PASSWORD) # they become parts of URLs and of NATS configuration
        [[ $value =~ ^[A-Za-z0-9._~-]+$ ]] \
          || die "$name may contain only letters, digits and . _ ~ -"
        ;;
    esac
  done
}
