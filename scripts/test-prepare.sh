# shellcheck shell=bash
# What the stories need before they run: packages, and the services, also with kill points. Needs the native layer and
# test-servers.sh.

check_tools() {
  prepare_packages "postgres nats service" || return
  type -P shellcheck >/dev/null || packages_install shellcheck || return
  # The certificates of docs/security.md.
  type -P openssl >/dev/null || packages_install openssl || return
  type -P promtool >/dev/null || packages_install prometheus || return
  type -P jq >/dev/null || packages_install jq || return
  # What reads the page: tests/page, tests/stories/page.rs.
  type -P chromium >/dev/null || packages_install chromium || return
  # Where money is written otherwise than in the C locale: tests/stories/values.rs.
  scripts/install-locales.sh de_DE ja_JP || return
  compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || packages_install libfaketime || return
  require_cargo
  if ! { cargo fmt --version && cargo clippy --version; }; then
    die "rustfmt or clippy is missing: rustup component add rustfmt clippy"
  fi
}

build() {
  cargo build --release --locked --workspace
}

# Services that can be made to die between two steps, beside those that cannot: only what the feature
# touches is compiled for them. The others take their place again.
build_kill_points() {
  local services=(outbox-publisher inbox-processor)
  unoptimized shared "${services[@]}"
  cargo build --release --locked --workspace "${UNOPTIMIZED[@]}" "${services[@]/#/--bin=}" \
    --features outbox-publisher/kill-points,inbox-processor/kill-points \
    && mkdir -p "$TEST_KILL_POINTS_DIR" \
    && cp "${services[@]/#/$TEST_BIN_DIR/}" "$TEST_KILL_POINTS_DIR/" \
    && build
}

# The services of the last landed version, where this checkout has it. The stories that need them are told where.
build_older_services() {
  local directory=${TEST_BIN_DIR%/*}/older-services status=0
  scripts/test-older-services.sh "$directory" || status=$?
  case $status in
    0) export TEST_OLDER_SERVICES_DIR=$directory ;;
    3) ;; # said
    *) return "$status" ;;
  esac
}
