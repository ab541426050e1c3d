# shellcheck shell=bash
# The component layer for plain processes: the functions that components.sh describes.

source "$ROOT/scripts/native/process.sh"
source "$ROOT/scripts/native/postgres.sh"
source "$ROOT/scripts/native/nats.sh"
source "$ROOT/scripts/native/service.sh"
source "$ROOT/scripts/native/monitoring.sh"
source "$ROOT/scripts/native/prepare.sh"
source "$ROOT/scripts/native/watch.sh"

PATH=$PATH:/usr/sbin:/sbin # where Debian keeps nats-server

layer_require() { :; }

layer_prepare() {
  local component kinds=''
  for component in "$@"; do kinds+=" $(component_kind "$component")"; done
  prepare_packages "$kinds"
  [[ $kinds != *service* ]] || prepare_binaries
}

layer_log_hint() { printf '%s/log/%s.log' "$RUN_DIR" "$1"; }

component_ports() {
  local name
  name=$(component_variable "$1")
  case $(component_kind "$1") in
    postgres) printf '%s\n' "${name}_PORT" ;;
    nats) printf '%s\n' "$name"_{,MONITOR_,CLUSTER_,GATEWAY_}PORT ;;
    service) printf '%s\n' "${name}_HTTP_PORT" ;;
    monitoring) printf '%s\n' "${name#MONITORING_}_PORT" ;;
  esac
}

component_start() {
  process_id "$1" >/dev/null || "$(component_kind "$1")_start" "$1" || return 1
  stop_reason_forget "$1"
  rm -f "$RUN_DIR/$1.deaths"
}

component_stop() { "$(component_kind "$1")_stop" "$1"; }
component_state() { process_state "$1"; }

component_healthy() {
  process_id "$1" >/dev/null || {
    printf 'not running\n'
    return 1
  }
  "$(component_kind "$1")_healthy" "$1"
}

component_logs() {
  local file=$RUN_DIR/log/$1.log lines=$2 follow=${3:+--follow=name}
  run_dir_require_readable
  [[ -e $file ]] || die "$1 has no log yet: never started. Start it: ./start-replication.sh $1"
  if [[ -z $follow && -e $file.1 ]]; then
    tail --quiet --lines="$lines" "$file.1" "$file" | tail --lines="$lines"
  else
    tail --lines="$lines" ${follow:+"$follow"} "$file"
  fi
}

component_has_log() { [[ -e $RUN_DIR/log/$1.log ]]; }

component_psql() { postgres_psql "$@"; }

component_disk_free() { timeout 5 df --output=avail --block-size=1 "$RUN_DIR/data/$1/" 2>/dev/null | tail -n 1 || true; }

component_purge() {
  "$(component_kind "$1")_purge" "$1"
  rm -f "$RUN_DIR/$1".{pid,born,restarts,deaths,stopped,failed,health} "$RUN_DIR/log/$1.log"{,.1}
}
