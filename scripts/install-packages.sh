#!/usr/bin/env bash
# Usage: sudo scripts/install-packages.sh PACKAGE…
#
# Installs Debian packages for the replication demo. Unlike plain apt-get, it creates no PostgreSQL
# cluster `main` on port 5432, and neither starts a package's service nor enables it at boot
# (nats-server would take port 4222, prometheus 9090). Both apply to this installation only.
set -euo pipefail
umask 022 # what is installed is for every user

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=scripts/console.sh
source "$ROOT/scripts/console.sh"

readonly CLUSTER_CONF=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
readonly POLICY=/usr/sbin/policy-rc.d

precautions_take() {
  trap precautions_end EXIT
  mkdir -p "${CLUSTER_CONF%/*}"
  printf 'create_main_cluster = false\n' >"$CLUSTER_CONF"
  [[ -e $POLICY ]] && return
  printf '#!/bin/sh\nexit 101 # written by %s during an installation\n' "$0" >"$POLICY"
  chmod +x "$POLICY"
  POLICY_IS_OURS=yes
}

precautions_end() {
  rm -f "$CLUSTER_CONF"
  rmdir --ignore-fail-on-non-empty "${CLUSTER_CONF%/*}"
  [[ -z ${POLICY_IS_OURS:-} ]] || rm -f "$POLICY"
}

# Their own services would start at the next boot, on the demo's ports.
services_disable() {
  local package
  type -P systemctl >/dev/null || return 0
  for package in "$@"; do
    case $package in nats-server | prometheus) ;; *) continue ;; esac
    [[ ! -d /run/systemd/system ]] || systemctl stop "$package.service"
    systemctl disable --quiet "$package.service"
  done
}

install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --option DPkg::Lock::Timeout=120 "$@" </dev/null
}

main() {
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    '' | -*) die_usage "Name the packages to install." ;;
  esac
  type -P apt-get >/dev/null \
    || die "apt-get is missing. Install these with your system's package manager: $*"
  [[ $EUID -eq 0 ]] || die "Installing packages needs root: sudo $0 $*"
  heading "Installing packages: $*"
  precautions_take
  apt-get update --quiet=2 || warn "apt-get update failed; using the existing package lists."
  install "$@" || die "apt-get could not install $*; see its message above."
  services_disable "$@"
}

main "$@"
