# shellcheck shell=bash
# What plain processes need before their first start: packages of the distribution, and the services' binaries.

source "$ROOT/scripts/packages.sh"

prepare_packages() {
  local kinds=$1 packages=()
  [[ $kinds != *postgres* ]] || postgres_is_here || packages+=(postgresql)
  [[ $kinds != *nats* ]] || nats_server >/dev/null || packages+=(nats-server)
  [[ $kinds != *service* ]] || type -P cc >/dev/null || packages+=(gcc libc6-dev)
  [[ $kinds != *monitoring* ]] || type -P prometheus >/dev/null || packages+=(prometheus)
  type -P curl >/dev/null || packages+=(curl)
  # First: nothing is installed for settings that are wrong. (Whose server user does not exist yet, once it does.)
  [[ " ${packages[*]} " == *' postgresql '* ]] || servers_chosen_require
  packages_install "${packages[@]}"
  servers_chosen_require
  [[ $kinds != *postgres* ]] || postgres_is_here \
    || die "PostgreSQL 15 or newer is required; this system's package is older. Add the PostgreSQL project's repository (apt.postgresql.org), install postgresql-15 or newer, then run this again."
}

# Ends the script with what to do if a setting names programs that cannot be used.
servers_chosen_require() {
  postgres_bin_chosen_require postgres-a
  postgres_bin_chosen_require postgres-b
  nats_server_chosen_require
}

# Whether there are programs for both servers: chosen ones, or the machine's.
postgres_is_here() { [[ -n $POSTGRES_A_BIN && -n $POSTGRES_B_BIN ]] || postgres_bin any >/dev/null; }

prepare_binaries() {
  heading "Building the services (cargo build --release)"
  require_cargo
  (cd "$ROOT" && cargo build --release --locked) \
    || die "The build failed; see the compiler's message above. Nothing was started."
}

require_cargo() {
  [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]] && PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  type -P cargo >/dev/null \
    || die "cargo is missing. Install a Rust toolchain (rustup, or your distribution's if it is new enough for rust-version in Cargo.toml), then run this again."
}
