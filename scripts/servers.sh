# shellcheck shell=bash
# Servers of other versions than the machine's own. A server's NAME is what it is and the beginning of its version:
# postgres-17, nats-2.12. Needs console.sh.

readonly SERVERS_FETCHED=$ROOT/.run/servers

# server_bin NAME: prints the directory of its programs. PostgreSQL of the distribution first: it has ICU.
server_bin() {
  if server_is_packaged "$1"; then
    printf '/usr/lib/postgresql/%s/bin' "${1#postgres-}"
  else
    printf '%s' "$SERVERS_FETCHED/$1/bin"
  fi
}

server_is_packaged() { [[ $1 == postgres-* && -x /usr/lib/postgresql/${1#postgres-}/bin/initdb ]]; }

# servers_install NAME…: those that the distribution does not have.
servers_install() {
  local name missing=()
  for name in "$@"; do
    server_is_packaged "$name" || [[ " ${missing[*]} " == *" $name "* ]] || missing+=("$name")
  done
  [[ ${#missing[@]} -eq 0 ]] || "$ROOT/scripts/install-servers.sh" "${missing[@]}"
}

# server_version NAME: prints what its program says, as in 17.11; false if it does not run.
server_version() {
  local program=postgres answer
  [[ $1 != nats-* ]] || program=nats-server
  answer=$("$(server_bin "$1")/$program" --version 2>/dev/null) && [[ $answer =~ ([0-9]+(\.[0-9]+)+) ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# compose_version postgres|nats [FILE]: prints the version of the image that docker-compose.yml names, as in 17.12.
compose_version() {
  local image=$1 file=${2:-$ROOT/docker-compose.yml} found
  found=$(sed --quiet --regexp-extended "s/^[[:space:]]*image: $image:([0-9.]+)(-.*)?$/\1/p" "$file" | sort --unique)
  [[ $found =~ ^[0-9]+\.[0-9]+(\.[0-9]+)?$ ]] \
    || die "$file does not name one version of the image $image with its minor, as \"image: $image:17.12-alpine\" does."
  printf '%s' "$found"
}

# compose_server postgres|nats [FILE]: prints the NAME of the server for that: of PostgreSQL the major version counts, of
# NATS the minor as well. The newest that can be fetched of these is taken, since a registry may have another last patch.
compose_server() {
  local version parts
  version=$(compose_version "$@") || return
  IFS=. read -r -a parts <<<"$version"
  case $1 in
    postgres) printf 'postgres-%s' "${parts[0]}" ;;
    nats) printf 'nats-%s.%s' "${parts[0]}" "${parts[1]}" ;;
  esac
}
