#!/usr/bin/env bash
# Usage: scripts/certificates.sh DIRECTORY
#
# Makes in DIRECTORY what the demo needs for TLS: an authority, certificates of both PostgreSQL servers and both NATS
# clusters, and the clusters' configuration with TLS switched on. What is there is kept; a certificate that expires within
# a month is issued anew. start-replication.sh --tls runs it; docker-compose.tls.yml says how to use it by hand.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"

readonly AUTHORITY_DAYS=3650
readonly CERTIFICATE_DAYS=365
readonly RENEW_BEFORE_S=$((30 * 86400))
readonly KEY_OPTIONS=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

authority_make() {
  [[ ! -e ca.crt ]] || return 0
  openssl req -x509 "${KEY_OPTIONS[@]}" -days "$AUTHORITY_DAYS" -subj '/CN=Authority of the replication demo' \
    -keyout ca.key -out ca.crt.new
  mv ca.crt.new ca.crt
}

# certificate_make NAME SUBJECT_ALT_NAMES: for a server, which as a node of NATS is a client of others as well.
certificate_make() {
  ! openssl x509 -in "$1.crt" -noout -checkend "$RENEW_BEFORE_S" >/dev/null 2>&1 || return 0
  openssl req -new "${KEY_OPTIONS[@]}" -subj "/CN=$1" -keyout "$1.key.new" -out "$1.csr"
  printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n' "$2" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days "$CERTIFICATE_DAYS" -extfile "$1.ext" -out "$1.crt.new"
  chmod 644 "$1.key.new"
  mv "$1.key.new" "$1.key"
  mv "$1.crt.new" "$1.crt"
  rm "$1.csr" "$1.ext"
}

# The names by which a zone's nodes are found: as plain processes, in the zone's network, and between the zones.
nodes_names() {
  local node names=DNS:localhost,IP:127.0.0.1
  for node in 1 2 3; do names+=",DNS:nats-$1-$node,DNS:nats-$1-$node.zone-$1"; done
  printf '%s' "$names"
}

# In nats-config the blocks for TLS are comments.
configuration_make() { sed 's/# tls {/tls {/' "$ROOT/nats-config/cluster-$1.conf" >"cluster-$1.conf"; }

main() {
  local zone
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    '' | -*) die_usage "Name the directory." ;;
  esac
  install --directory --mode=700 "$1"
  cd "$1"
  # In a container a server is another user, whom the directory does not keep out there. The authority's key is for nobody.
  umask 022
  authority_make
  for zone in a b; do
    certificate_make "postgres-$zone" "DNS:postgres-$zone,DNS:localhost,IP:127.0.0.1"
    certificate_make "nats-$zone" "$(nodes_names "$zone")"
    configuration_make "$zone"
  done
}

main "$@"
