# shellcheck shell=bash
# Packages of the distribution.

# Installs packages as root; otherwise prints the command that does, and ends the script.
packages_install() {
  [[ $# -gt 0 ]] || return 0
  if [[ $EUID -ne 0 ]]; then
    error "Missing on this machine: $*. Install it, then run this again:"
    printf '  sudo %q %s\n' "$ROOT/scripts/install-packages.sh" "$*" >&2
    exit 1
  fi
  "$ROOT/scripts/install-packages.sh" "$@"
}
