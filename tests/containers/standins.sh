# shellcheck shell=bash
# Stand-ins for the official images that docker-compose.yml and Dockerfile name, for testing only;
# README.md says what they are. Needs servers.sh. Each is kept as replication-standin:<what it stands in for>, and has the
# official tag from standins_tag to standins_untag only.

readonly STANDIN=replication-standin
readonly STANDIN_SUPPORT=$ROOT/tests/containers
readonly STANDIN_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
readonly STANDIN_PACKAGES=(libgcc-s1 bash dash coreutils findutils grep sed)
readonly STANDIN_PACKAGES_RUST=(
  libc6 gcc gcc-12 cpp cpp-12 libgcc-12-dev libc6-dev linux-libc-dev binutils binutils-x86-64-linux-gnu
)
# What hashes a password.
readonly STANDIN_LOGIN_CRATES=(block-buffer crypto-common digest hmac hybrid-array postgres-protocol sha2)

# standins_make IMAGE…: those of them that are not here.
standins_make() {
  local image missing=()
  for image in "$@"; do image_is_here "$image" || missing+=("${image%%:*}"); done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  standin_servers_fetch
  for image in "${missing[@]}"; do standin_is_current "$image" || "standin_$image"; done
}

# Servers of the versions that docker-compose.yml names.
standin_servers_fetch() {
  local postgres nats
  postgres=$(compose_server postgres) nats=$(compose_server nats)
  "$ROOT/scripts/install-servers.sh" "$postgres" "$nats"
  STANDIN_POSTGRES=$(readlink --canonicalize "$SERVERS_FETCHED/$postgres") STANDIN_NATS=$SERVERS_FETCHED/$nats/bin/nats-server
}

# standins_tag IMAGE…: gives those that are not here their official names.
standins_tag() {
  local image
  for image in "$@"; do
    image_is_here "$image" || docker tag "$STANDIN:${image%%:*}" "$image"
  done
}

# standins_untag IMAGE…: takes these names from our images, and from no other.
standins_untag() {
  local image
  for image in "$@"; do
    [[ -z $(standin_label "$image") ]] || docker rmi --no-prune "$image" >/dev/null
  done
}

standin_label() { docker image inspect --format "{{index .Config.Labels \"$STANDIN\"}}" "$1" 2>/dev/null; }

# Its label says what a stand-in was made from: one from an older recipe or older packages is rebuilt.
standin_is_current() { [[ $(standin_label "$STANDIN:$1") == "$(standin_recipe)" ]]; }

standin_recipe() {
  {
    cat "$STANDIN_SUPPORT"/*.sh "$ROOT/Cargo.lock"
    standin_server_versions
    dpkg-query --show libc6 bash coreutils gcc
    rustc --version
  } 2>/dev/null | sha256sum | cut --characters=1-16
}

# Nothing where no image of a server is missing.
standin_server_versions() { [[ -z ${STANDIN_POSTGRES:-} ]] || { "$STANDIN_POSTGRES/bin/postgres" --version && "$STANDIN_NATS" --version; }; }

standin_debian() {
  skeleton_make
  standin_import debian 'CMD ["bash"]' </dev/null
}

standin_postgres() {
  skeleton_make
  mkdir -p "$SKELETON/docker-entrypoint-initdb.d" "$SKELETON/var/lib/postgresql/data" "$SKELETON/usr/local/pgsql"
  cp "$STANDIN_SUPPORT/postgres-entrypoint.sh" "$SKELETON/usr/local/bin/docker-entrypoint.sh"
  cp --recursive "$STANDIN_POSTGRES"/{bin,lib,share} "$SKELETON/usr/local/pgsql/"
  ln -s cat "$SKELETON/usr/bin/more" # psql's pager
  {
    files_needed_by "$STANDIN_POSTGRES"/bin/* | grep --invert-match "^$STANDIN_POSTGRES/"
    printf '%s\n' /usr/bin/setpriv /usr/bin/gunzip /usr/bin/gzip
    find -L /usr/share/zoneinfo -type f
  } | standin_import postgres \
    "ENV PATH=/usr/local/pgsql/bin:$STANDIN_PATH PGDATA=/var/lib/postgresql/data" \
    'VOLUME /var/lib/postgresql/data' 'EXPOSE 5432' \
    'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]'
  # An import cannot set it.
  printf 'FROM %s\nSTOPSIGNAL SIGINT\n' "$STANDIN:postgres" | docker build --quiet --tag "$STANDIN:postgres" - >/dev/null 2>&1
}

standin_nats() {
  skeleton_make
  mkdir -p "$SKELETON/etc/nats"
  printf '# The official image has a configuration here.\n' >"$SKELETON/etc/nats/nats-server.conf"
  cp "$STANDIN_SUPPORT/nats-entrypoint.sh" "$SKELETON/usr/local/bin/docker-entrypoint.sh"
  cp "$STANDIN_NATS" "$SKELETON/usr/local/bin/"
  printf '%s\n' /usr/bin/wget \
    | standin_import nats 'EXPOSE 4222 6222 8222' \
      'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["nats-server", "--config", "/etc/nats/nats-server.conf"]'
}

# Offline: with the crates that this machine has. Without optimisation: that costs most of the time of
# a build, and is no matter of the Dockerfile's. A login to PostgreSQL would take fifty times as long without any.
standin_rust() {
  local sysroot
  sysroot=$(rustc --print sysroot)
  skeleton_make
  mkdir -p "$SKELETON/usr/local/cargo/registry"
  cp --recursive --link "$sysroot/lib" "$SKELETON/usr/local/" 2>/dev/null || cp --recursive "$sysroot/lib" "$SKELETON/usr/local/"
  cp "$sysroot"/bin/{rustc,cargo} "$SKELETON/usr/local/bin/"
  printf '[profile.release]\nopt-level = 0\n' >"$SKELETON/usr/local/cargo/config.toml"
  printf '[profile.release.package.%s]\nopt-level = 3\n' "${STANDIN_LOGIN_CRATES[@]}" >>"$SKELETON/usr/local/cargo/config.toml"
  cp --recursive "${CARGO_HOME:-$HOME/.cargo}"/registry/{cache,index} "$SKELETON/usr/local/cargo/registry/"
  {
    files_of_packages "${STANDIN_PACKAGES_RUST[@]}"
    printf '%s\n' /usr/bin/cc /etc/ssl/certs/ca-certificates.crt
    files_needed_by "$sysroot"/bin/{rustc,cargo} "$sysroot"/lib/*.so | grep --invert-match "^$sysroot/"
  } | standin_import rust 'ENV CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true'
}

# Sets SKELETON to a directory with what an image has besides files of packages.
skeleton_make() {
  local directory
  SKELETON=$(mktemp --directory "$STANDIN_WORK/XXXXXX")
  chmod 0755 "$SKELETON"
  mkdir -p "$SKELETON"/{dev,etc,proc,root,run,sys,tmp,usr/{bin,sbin,lib,lib64,local/bin},var/lib}
  chmod 1777 "$SKELETON/tmp"
  for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$SKELETON/$directory"; done
  ln -s ../run "$SKELETON/var/run"
  cp "$STANDIN_SUPPORT"/{passwd,group} "$SKELETON/etc/"
}

# standin_import NAME CHANGE… <FILES: the skeleton, a shell with its tools, and the files of this machine.
standin_import() {
  local name=$1 change changes=()
  shift
  for change in "ENV PATH=$STANDIN_PATH" "$@" "LABEL $STANDIN=$(standin_recipe)"; do changes+=(--change "$change"); done
  tar --create --file="$SKELETON.tar" --directory="$SKELETON" --owner=0 --group=0 .
  {
    cat
    files_of_packages "${STANDIN_PACKAGES[@]}"
    find /usr/lib/locale/C.utf8 -type f
  } | with_libraries \
    | tar --append --file="$SKELETON.tar" --directory=/ --dereference --no-recursion --files-from=-
  docker import "${changes[@]}" "$SKELETON.tar" "$STANDIN:$name" >/dev/null
  rm -rf "$SKELETON" "$SKELETON.tar"
}

# The files of installed packages, without those that only people read.
files_of_packages() {
  local file
  dpkg --listfiles "$@" | grep --invert-match --extended-regexp '^/usr/share/(doc|man|info|locale|lintian|bash-completion)/' \
    | while read -r file; do [[ ! -f $file ]] || printf '%s\n' "$file"; done
}

# The files and the libraries that they need, with the paths of a merged /usr.
with_libraries() {
  local files
  mapfile -t files
  {
    printf '%s\n' "${files[@]}"
    files_needed_by "${files[@]}"
  } | sed --regexp-extended 's#^/(bin|sbin|lib|lib64)/#/usr/\1/#; s#^/##' | sort --unique
}

files_needed_by() {
  local file programs=()
  for file in "$@"; do [[ ! -x $file && $file != *.so* ]] || programs+=("$file"); done
  { ldd "${programs[@]}" 2>/dev/null || true; } \
    | sed --quiet --regexp-extended 's#^.* => (/[^ ]+) .*#\1#p; s#^\t(/[^ ]+) \(.*#\1#p' | sort --unique
}
