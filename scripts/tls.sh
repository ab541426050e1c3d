# shellcheck shell=bash
# Whether the demo's connections are encrypted. Needs RUN_DIR.
#
#   RUN_DIR/secrets/tls   the certificates (scripts/certificates.sh): the demo runs with TLS while they are there

source "$ROOT/scripts/packages.sh"

tls_directory() { printf '%s/secrets/tls' "$RUN_DIR"; }
tls_is_on() { [[ -e $(tls_directory)/ca.crt ]]; }

# tls_choose --tls|--no-tls|: switches it, or leaves it as last time. For the layer that is loaded.
tls_choose() {
  local wanted='' component present=off
  case $1 in
    --tls) wanted=on ;;
    --no-tls) wanted=off ;;
  esac
  ! tls_is_on || present=on
  if [[ -n $wanted && $wanted != "$present" ]]; then
    for component in "${ALL_COMPONENTS[@]}"; do
      ! component_is_up "$component" || die "$component already runs with TLS $present. Stop it first: ./stop-replication.sh"
    done
    [[ $wanted == on ]] || rm -rf "$(tls_directory)"
    present=$wanted
  fi
  [[ $present == on ]] || return 0
  tls_make
  say "With TLS between all of them: the authority is $(tls_directory)/ca.crt."
}

# As long as it is there, it is used: made whole, or not at all.
tls_make() {
  local output
  type -P openssl >/dev/null || packages_install openssl
  install --directory --mode=700 "$RUN_DIR/secrets"
  output=$("$ROOT/scripts/certificates.sh" "$(tls_directory)" 2>&1) \
    || die "The certificates cannot be made in $(tls_directory): $(tail -n 3 <<<"$output")"
}
