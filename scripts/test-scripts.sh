#!/usr/bin/env bash
# Usage: scripts/test-scripts.sh
#
# Tests what the scripts say when they are used wrongly, and that settings are documented; runs
# scripts/test-documents.sh. Starts no component; a step of test-replication.sh.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/servers.sh"

readonly SCRIPTS=(start-replication.sh stop-replication.sh logs.sh check-replication.sh compare-replication.sh test-replication.sh bench-replication.sh)

# expect STATUS TEXT COMMAND…: the command ends with the status and prints the text.
expect() {
  local status=$1 text=$2 output actual=0
  shift 2
  output=$("$@" </dev/null 2>&1) || actual=$?
  [[ $actual == "$status" && $output == *"$text"* ]] \
    || die "expected status $status and \"$text\" of: $*"$'\n'"got status $actual and:"$'\n'"$output"
}

test_usage() {
  local script
  for script in "${SCRIPTS[@]}"; do
    expect 0 "Usage: ./$script" "$ROOT/$script" --help
    expect 2 "There is no option" "$ROOT/$script" --frobnicate
  done
  expect 2 "There is no component 'nats-c-1'" "$ROOT/start-replication.sh" nats-c-1
  expect 2 "There is no component 'nats-c-1'" "$ROOT/stop-replication.sh" nats-c-1
  expect 2 "There is no component 'nats-c-1'" "$ROOT/logs.sh" nats-c-1
  expect 2 "exclude each other" "$ROOT/start-replication.sh" --native --docker
  expect 2 "exclude each other" "$ROOT/start-replication.sh" --tls --no-tls
  expect 2 "--timeout takes seconds from 1" "$ROOT/compare-replication.sh" --timeout=0
  expect 2 "go together" env SOURCE_DATABASE_URL=postgres:///none "$ROOT/compare-replication.sh"
  expect 2 "--only takes one of" "$ROOT/bench-replication.sh" --only speed
  expect 2 "--repetitions takes a number, not 'x'" "$ROOT/bench-replication.sh" --repetitions x
  expect 0 "Usage: scripts/test-soak.sh" "$ROOT/test-replication.sh" --soak --help
  expect 2 "--minutes takes a number" "$ROOT/test-replication.sh" --soak --minutes x
  expect 0 "Usage: scripts/test-matrix.sh" "$ROOT/test-replication.sh" --matrix --help
  expect 2 "There is no option" "$ROOT/test-replication.sh" --matrix --frobnicate
  expect 2 "--only takes a combination" "$ROOT/test-replication.sh" --matrix --only 17
  expect 2 "--source takes a server whose name begins with postgres-" "$ROOT/scripts/test-versions.sh" --source nats-2.12
  expect 0 "Usage: scripts/package.sh" "$ROOT/scripts/package.sh" --help
  expect 2 "--programs takes a directory" "$ROOT/scripts/package.sh" --programs "$RUN_DIR/none"
  expect 2 "There is no server 'frob'" "$ROOT/scripts/install-servers.sh" frob
}

test_logs() {
  expect 2 "Name a component" "$ROOT/logs.sh"
  expect 2 "One component at a time" "$ROOT/logs.sh" nats-a-1 nats-a-2
  expect 2 "--tail takes a number of lines, not 'x'" "$ROOT/logs.sh" nats-a-1 --tail=x
  expect 1 "nats-a-1 has no log yet" "$ROOT/logs.sh" nats-a-1
}

test_bad_settings() {
  expect 1 "POSTGRES_A_PORT is 'many'" env POSTGRES_A_PORT=many "$ROOT/start-replication.sh" --native postgres-a
  expect 1 "may contain only letters" env POSTGRES_PASSWORD='a b' "$ROOT/start-replication.sh" --native postgres-a
}

# Servers that are set, and cannot be used. A program that is none is not run for long.
test_bad_servers() {
  local start=("$ROOT/start-replication.sh" --native postgres-a) programs=$RUN_DIR/programs program
  expect 1 "POSTGRES_A_BIN is '$RUN_DIR/none'; allowed is a directory with PostgreSQL's programs" env POSTGRES_A_BIN="$RUN_DIR/none" "${start[@]}"
  expect 1 "NATS_SERVER is '$RUN_DIR/none', and there is no such program" env NATS_SERVER="$RUN_DIR/none" "${start[@]}"
  expect 1 "does not say that it is a nats-server" env NATS_SERVER=/bin/true "${start[@]}"
  mkdir "$programs"
  for program in initdb postgres psql; do printf '#!/bin/sh\necho "postgres (PostgreSQL) 14.1"\n' >"$programs/$program" && chmod +x "$programs/$program"; done
  expect 1 "POSTGRES_B_BIN is '$programs', which has PostgreSQL 14; allowed is 15 or newer" env POSTGRES_B_BIN="$programs" "${start[@]}"
  # A server that cannot make its database, and ends as if it had.
  chmod 755 "$RUN_DIR"
  # shellcheck disable=SC2016 # it is the program's
  printf '#!/bin/sh\n[ "$1" = --version ] && echo "postgres (PostgreSQL) 15.1" || echo "ERROR:  no space for a database"\n' >"$programs/postgres"
  expect 1 "initdb of postgres-a failed" env POSTGRES_A_BIN="$programs" RUN_DIR="$RUN_DIR/of_a_server" "${start[@]}"
  printf '#!/bin/sh\nexit 1\n' >"$programs/postgres"
  expect 1 "POSTGRES_B_BIN is '$programs', and $programs/postgres does not run" env POSTGRES_B_BIN="$programs" "${start[@]}"
}

# Certificates are kept until they have almost expired, and are good for every name of the server.
test_certificates() {
  local directory=$RUN_DIR/tls serial
  expect 2 "Name the directory" "$ROOT/scripts/certificates.sh"
  expect 0 "" "$ROOT/scripts/certificates.sh" "$directory"
  serial=$(openssl x509 -in "$directory/nats-b.crt" -noout -serial)
  expect 0 "" "$ROOT/scripts/certificates.sh" "$directory"
  [[ $(openssl x509 -in "$directory/nats-b.crt" -noout -serial) == "$serial" ]] || die "a certificate that is good was issued anew"
  openssl x509 -x509toreq -in "$directory/nats-b.crt" -signkey "$directory/nats-b.key" \
    | openssl x509 -req -CA "$directory/ca.crt" -CAkey "$directory/ca.key" -days 1 -out "$directory/nats-b.crt" 2>/dev/null
  expect 0 "" "$ROOT/scripts/certificates.sh" "$directory"
  openssl x509 -in "$directory/nats-b.crt" -noout -checkend 2592000 >/dev/null || die "a certificate that has almost expired was not renewed"
  expect 0 "" openssl verify -CAfile "$directory/ca.crt" -verify_hostname nats-b-2.zone-b "$directory/nats-b.crt"
  expect 0 "" openssl verify -CAfile "$directory/ca.crt" -verify_ip 127.0.0.1 "$directory/postgres-a.crt"
  [[ $(stat --format=%a "$directory" "$directory/ca.key") == $'700\n600' ]] || die "others can read the key of the authority"
  [[ $(grep --count '^ *tls {' "$directory/cluster-a.conf") == 3 ]] || die "nats-config has not three blocks for TLS"
}

# What docker-compose.yml names is what the stories and the stand-ins run on: who raises an image raises that.
test_versions_of_compose() {
  local raised=$RUN_DIR/docker-compose.yml kind version
  sed --regexp-extended 's/(image: postgres:)[^ ]+/\191.2-alpine/; s/(image: nats:)[^ ]+/\17.8.9-alpine/' "$ROOT/docker-compose.yml" >"$raised"
  [[ "$(compose_server postgres "$raised") $(compose_server nats "$raised")" == "postgres-91 nats-7.8" ]] \
    || die "raising the images of docker-compose.yml does not raise what is tested"
  sed --in-place 's/postgres:91.2-alpine/postgres:91-alpine/' "$raised"
  expect 1 "does not name one version of the image postgres with its minor" compose_server postgres "$raised"
  [[ $(compose_version postgres) == 1[0-7].* ]] || ! grep --quiet ':/var/lib/postgresql/data$' "$ROOT/docker-compose.yml" \
    || die "the image of PostgreSQL that docker-compose.yml names keeps its data outside the volumes, which are mounted at /var/lib/postgresql/data"
  for kind in postgres nats; do
    version=$(compose_server "$kind")
    grep --quiet --fixed-strings " $version" "$ROOT/scripts/test-matrix.sh" || die "the matrix does not run $version, which docker-compose.yml names"
  done
}

# README.md says which versions are run.
test_versions_of_the_readme() {
  local name source target nats
  while read -r name source target nats; do
    grep --quiet --extended-regexp "^\| ${source#postgres-} \| ${target#postgres-} \| (newest|${nats#nats-}) \|" "$ROOT/README.md" \
      || die "README.md does not name the combination $name ($source, $target, $nats) of scripts/test-matrix.sh"
  done < <(sed --quiet --regexp-extended 's/^  "([0-9]+-[0-9]+ .*)"$/\1/p' "$ROOT/scripts/test-matrix.sh")
}

# An address's password is in no program's arguments, which everybody on the machine can see.
test_addresses() {
  local programs=$RUN_DIR/psql said=$RUN_DIR/psql.said
  mkdir "$programs"
  # shellcheck disable=SC2016 # it is the program's
  printf '#!/bin/sh\necho "$* with $PGPASSWORD" >>"%s"\nexit 2\n' "$said" >"$programs/psql"
  chmod +x "$programs/psql"
  expect 2 "" env PATH="$programs:$PATH" SOURCE_DATABASE_URL='postgres://u:p%40s%5Cs@127.0.0.1:1/d?sslmode=disable' \
    TARGET_DATABASE_URL='postgres://u@127.0.0.1:1/d' PGPASSWORD=other "$ROOT/compare-replication.sh"
  grep --quiet --fixed-strings -- '--dbname=postgres://u@127.0.0.1:1/d?sslmode=disable ' "$said" || die "the address is not handed on: $(<"$said")"
  grep --quiet --fixed-strings 'with p@s\s' "$said" || die "the address's password is not handed on: $(<"$said")"
  ! grep --quiet 'p%40s' "$said" || die "psql has a password among its arguments: $(<"$said")"
  expect 2 "may have a password in the form" env SOURCE_DATABASE_URL='host=127.0.0.1 password=secret' \
    TARGET_DATABASE_URL='postgres://u@127.0.0.1:1/d' "$ROOT/compare-replication.sh"
}

# Insisting on containers where there are none leaves nothing behind, not even the choice.
test_no_engine() {
  expect 1 "Cannot use containers" \
    env DOCKER_HOST="unix://$RUN_DIR/none.sock" "$ROOT/start-replication.sh" --docker
  [[ ! -e $RUN_DIR/mode ]] || die "a start that could not begin has bound the next one to containers"
}

# A listener of our own on a port that a start wants.
test_taken_port() {
  local port
  coproc LISTENER { exec perl -MIO::Socket::INET -e '
    $| = 1;
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die;
    print $socket->sockport, "\n";
    sleep 30;'; }
  read -r port <&"${LISTENER[0]}"
  expect 1 "Port $port (postgres-a) is in use by perl (pid $LISTENER_PID). Set POSTGRES_A_PORT to another port." \
    env POSTGRES_A_PORT="$port" "$ROOT/start-replication.sh" --native postgres-a postgres-b
  kill "$LISTENER_PID"
  [[ -z $(compgen -G "$RUN_DIR/*.pid") ]] || die "a start that was refused left something running"
}

# Every setting of the scripts with the same default, and every variable that a service reads: with
# the same default where its code has a plain one.
test_settings_are_documented() {
  local setting name default
  for setting in "${SETTINGS[@]}"; do
    grep --quiet --line-regexp --fixed-strings "$setting" "$ROOT/.env.example" \
      || die ".env.example does not have the line $setting"
  done
  while read -r name default; do
    grep --quiet --extended-regexp "^(# )?$name=${default:+$default\$}" "$ROOT/.env.example" \
      || die ".env.example does not have $name${default:+=$default}, which a service reads"
    grep --quiet --word-regexp "$name:" "$ROOT/docker-compose.yml" \
      || die "docker-compose.yml does not hand on $name, which a service reads"
  done < <(service_variables)
}

# NAME DEFAULT, or NAME alone where there is no default or it is computed.
service_variables() {
  find "$ROOT"/{shared,generator,publisher,processor}/src -name '*.rs' -exec cat {} + | tr --squeeze-repeats ' \n' ' ' \
    | grep --only-matching --perl-regexp \
      'environment ?\. ?(optional|required|flag|count_if_set|count|seconds|nats_name)\( ?"[A-Z_]+"(, ?[^,)]+)?' \
    | sed --regexp-extended \
      -e 's/^.*(optional|required|count_if_set)\( ?"([A-Z_]+)".*/\2/' \
      -e 's/^[^"]*"([A-Z_]+)"(, ?"?([A-Za-z0-9._]+)"?)?$/\1 \3/' \
      -e 's/^[^"]*"([A-Z_]+)".*/\1/' -e 's/\.0$//' \
    | sort --unique
}

# A copy of .env.example as .env changes nothing.
test_example_changes_nothing() {
  diff <(settings_from /dev/null) <(settings_from "$ROOT/.env.example") \
    || die ".env.example, copied to .env, changes the settings above"
}

settings_from() (
  for setting in "${SETTINGS[@]}"; do unset "${setting%%=*}"; done
  ENV_FILE=$1 settings_load
  for setting in "${SETTINGS[@]}"; do name=${setting%%=*} && printf '%s=%s\n' "$name" "${!name}"; done
)

# The compose file, used by itself, has the defaults of the scripts.
test_compose_defaults() {
  local name default setting
  while IFS='=' read -r name default; do
    for setting in "${SETTINGS[@]}" RUST_LOG=info LOG_FORMAT=text; do
      [[ ${setting%%=*} != "$name" || $setting == "$name=$default" ]] \
        || die "docker-compose.yml has $name=$default, the scripts have $setting"
    done
  done < <(sed --quiet 's/\${/\n${/gp' "$ROOT/docker-compose.yml" | sed --quiet --regexp-extended 's/^\$\{([A-Z_0-9]+):-([^}]+)\}.*/\1=\2/p')
}

test_compose_file() {
  local names
  if ! compose_load >/dev/null; then
    say "Compose is not installed: docker-compose.yml is not checked"
    return
  fi
  local compose=("${COMPOSE[@]}" --project-directory "$ROOT" --profile monitoring --file "$ROOT/docker-compose.yml")
  names=$("${compose[@]}" config --services) || die "docker-compose.yml is not valid: the reason is above"
  [[ $(sort <<<"$names") == "$(printf '%s\n' "${KNOWN_COMPONENTS[@]}" prepare-a prepare-b | sort)" ]] \
    || die "docker-compose.yml does not have the components and what prepares the databases, but: $names"
  [[ $(sort <<<"$names") == "$("${compose[@]}" --file "$ROOT/docker-compose.tls.yml" config --services | sort)" ]] \
    || die "docker-compose.tls.yml is not valid, or has other services than docker-compose.yml"
  [[ $("${compose[@]}" config | grep --count -- '- monitoring$') == "${#MONITORING_COMPONENTS[@]}" ]] \
    || die "the monitoring of docker-compose.yml is not in a profile of its own"
  [[ $(images_of docker-compose.yml | sort --unique | sed 's/:.*//' | xargs) == "nats postgres" && $(images_of_monitoring | wc --lines) == "${#MONITORING_COMPONENTS[@]}" ]] \
    || die "who does not want the monitoring needs its images: $(images_of docker-compose.yml)"
}

# judges FUNCTION EXPECTED NAME=VALUE…: what the check finds where these values were read, twice those named
# before "later", and those behind it the second time. EXPECTED is a pattern of level and finding, or empty.
judges() (
  local function=$1 expected=$2 pair earlier=true
  shift 2
  source "$ROOT/scripts/check/findings.sh"
  source "$ROOT/scripts/check/sample.sh"
  source "$ROOT/scripts/check/databases.sh"
  source "$ROOT/scripts/check/comparison.sh"
  source "$ROOT/scripts/sides.sh"
  # shellcheck disable=SC2317 # lag_print calls it
  component_is_up() { :; }
  for pair in "$@"; do
    if [[ $pair == later ]]; then
      earlier=false
      continue
    fi
    ! $earlier || BEFORE[${pair%%=*}]=${pair#*=}
    NOW[${pair%%=*}]=${pair#*=}
  done
  $function >/dev/null
  [[ "$EXIT_STATUS ${FINDINGS[*]-}" == ${expected:-0 }* && (-z $expected || ${#FINDINGS[@]} == 1) ]] \
    || die "expected \"$expected\" of $function with $*, got: $EXIT_STATUS ${FINDINGS[*]-}"
)

# growth_says EXPECTED RATE_BYTES_PER_S FREE_BYTES UNCONFIRMED_MS
growth_says() { judges outbox_growth_judge "$1" "outbox_bytes_per_s=$2" "disk_free_a=$3" "unconfirmed_age_ms=$4"; }

test_outbox_growth() {
  local gigabyte=$((1 << 30))
  growth_says '2 *grows by 1024 KB/s, nothing was confirmed for 60.0 s, and A?s disk is full in 17 minutes*' 1048576 "$gigabyte" 60000
  growth_says '1 *full in 29 hours*' 10240 "$gigabyte" 60000
  growth_says '' 10240 "$((gigabyte * 1000))" 60000
  growth_says '' 1048576 "$gigabyte" 500
  growth_says '' 0 "$gigabyte" 60000
  growth_says '' 1048576 '' 60000
}

test_standing_still() {
  local behind=(lag_ms=70000 events_pending=3 last_tick=9 applied_tick=5 inbox_total=7)
  judges lag_print '2 *70.0 s behind A (3 events) and not moving*' "${behind[@]}"
  judges lag_print '1 *70.0 s behind A (3 events)*' "${behind[@]}" later applied_tick=6
  judges lag_print '1 *70.0 s behind A (3 events)*' "${behind[@]}" later inbox_total=8 # a large tick arrives
  judges lag_print '' lag_ms=900 events_pending=3 last_tick=9 applied_tick=5 inbox_total=7
  judges confirms_judge '1 *not confirmed in A for 70.0 s*' unconfirmed_age_ms=70000 confirmed_tick=5 lag_ms=9
  judges confirms_judge '' unconfirmed_age_ms=70000 confirmed_tick=5 lag_ms=9 later confirmed_tick=6
  judges confirms_judge '' unconfirmed_age_ms=70000 confirmed_tick=5 # B was not read: its own finding says so
}

# A row that cannot be sent is critical at once: nothing behind it is published until somebody acts.
test_publishing_held() {
  local read=(a_status_known=t b_status_known=t a_has_schema=t b_has_schema=t)
  SAMPLES=1 judges databases_judge '' "${read[@]}"
  SAMPLES=1 judges databases_judge '2 *publishing is held up in A since 12:00*the row (2) of public.big*' "${read[@]}" \
    publishing_held_since=12:00 'publishing_held=the row (2) of public.big cannot be sent'
}

# What somebody has paused stands still on purpose, and is said until it is resumed.
test_paused() {
  local read=(a_status_known=t b_status_known=t a_has_schema=t b_has_schema=t) behind=(lag_ms=70000 events_pending=3 last_tick=9 applied_tick=5 inbox_total=7)
  SAMPLES=1 judges databases_judge '1 *applying is paused in B since 12:00 by alice: backup*resume(?applying?)*' "${read[@]}" \
    applying_paused_since=12:00 'applying_paused=alice: backup'
  SAMPLES=1 judges databases_judge '1 *publishing is paused in A since 12:00*' "${read[@]}" outbox_unprocessed=900 published_tick=5 \
    publishing_paused_since=12:00 'publishing_paused=alice: NATS'
  judges lag_print '' "${behind[@]}" 'applying_paused=alice: backup'
}

test_comparison() {
  local counts=(shown_1=users a_rows_1=9 b_rows_1=7 pending_1=1)
  judges 'table_compare 1' '' shown_1=users a_rows_1=9 b_rows_1=8 pending_1=1 difference_1=0
  judges 'table_compare 1' '1 *differ by 1, and B is still applying*' "${counts[@]}" applied_tick=5 later difference_1=1 applied_tick=6
  judges 'table_compare 1' '2 *differ by 1, the same as*' "${counts[@]}" difference_1=1 applied_tick=5 later applied_tick=6
  judges 'table_compare 1' '2 *differ by 1, and B?s position is not moving*' "${counts[@]}" difference_1=1 applied_tick=5
  judges 'table_compare 1' '3 *users cannot be compared*' shown_1=users a_rows_1=9 pending_1=1
  judges 'table_compare 1' '1 *users: B has no such table*' shown_1=users a_rows_1=9 pending_1=1 'b_hindrance_1=B has no such table'
  judges 'table_compare 1' '3 *may not read it in B*' shown_1=users a_rows_1=9 pending_1=1 'b_hindrance_1=this role may not read it in B'
}

# What was not read is never shown as well; what is critical is so, whatever else is unknown.
test_what_is_not_known() {
  judges 'side_judge b' '' b_status_known=t
  judges 'side_judge b' '' b_has_schema=f # a finding of its own
  judges 'side_judge b' '3 *B cannot be looked at: connection*' 'error_b=connection to server failed'
  judges 'side_judge b' '3 *could not be read within*' b_has_schema=t
  judges 'side_judge a' '2 *not part of the history*' 'error_a=tick 3 (x), which the target has, is not part of the history of this source'
  (
    source "$ROOT/scripts/check/findings.sh"
    finding 1 warned '' && ((EXIT_STATUS == 1)) && finding 3 unknown '' && ((EXIT_STATUS == 3)) \
      && finding 2 critical '' && ((EXIT_STATUS == 2)) && finding 3 unknown '' && ((EXIT_STATUS == 2))
  ) || die "the levels of findings are not as documented"
}

# Errors in the sessions of operators and applications are not counted, unless capture raised them.
test_errors_in_the_log() (
  local stamp log
  source "$ROOT/scripts/check/errors.sh"
  stamp=$(date --utc '+%Y-%m-%d %H:%M:%S.000 UTC')
  # shellcheck disable=SC2317 # errors_of calls them
  component_has_log() { :; }
  # shellcheck disable=SC2317
  component_logs() { printf '%s\n' "${log[@]}"; }
  # errors_are COUNT LINE…
  errors_are() {
    local count=$1
    log=("${@:2}")
    [[ $(errors_of postgres-a) == "$count"* ]] || die "expected $count errors, got: $(errors_of postgres-a) of $(printf '%s\n' "${log[@]}")"
  }
  errors_are 0 "$stamp [7] postgres@transactions/psql ERROR:  syntax error at or near \"selct\" at character 1"
  errors_are 0 "$stamp [7] shop@transactions/My app ERROR:  duplicate key value violates unique constraint" "$stamp [7] shop@transactions/My app DETAIL:  Key (id)=(1)" \
    "$stamp [7] postgres@other/outbox-publisher ERROR:  relation does not exist"
  errors_are 1 "$stamp [7] shop@transactions/My app ERROR:  column t.b does not exist" \
    "$stamp [7] shop@transactions/My app CONTEXT:  PL/pgSQL function replication.capture_16402() line 3 at SQL statement"
  errors_are 1 "$stamp [7] postgres@transactions/inbox-processor ERROR:  deadlock detected"
  errors_are 1 "$stamp [9] ERROR:  could not open file"
  errors_are 1 "$stamp [7] shop@transactions/My app ERROR:  could not extend file \"base/1\": No space left on device"
  errors_are 0 "2001-01-01 00:00:00.000 UTC [9] ERROR:  long ago"
  # Those of the services, in each LOG_FORMAT.
  stamp=$(date --utc '+%Y-%m-%dT%H:%M:%S.000Z')
  log=("$stamp ERROR inbox_processor: one" "$stamp WARN  inbox_processor: no ERROR"
    "ts=$stamp level=error service=inbox-processor thread=applying msg=two" "ts=2001-01-01T00:00:00.000Z level=error service=s thread=t msg=old"
    "ts=$stamp level=warn service=inbox-processor thread=applying msg=\"not level=error \""
    "{\"ts\":\"$stamp\",\"level\":\"error\",\"service\":\"inbox-processor\",\"thread\":\"applying\",\"msg\":\"three\"}"
    "{\"ts\":\"$stamp\",\"level\":\"info\",\"service\":\"inbox-processor\",\"thread\":\"applying\",\"msg\":\"ok\"}")
  [[ $(errors_of inbox-processor) == "3 {"* ]] || die "expected 3 errors of a service, got: $(errors_of inbox-processor)"
  # shellcheck disable=SC2317
  component_logs() { return 1; }
  ! errors_of postgres-a >/dev/null || die "a log that cannot be read has no errors"
)

# A verdict does not depend on where it is printed.
test_outputs_that_take_nothing() {
  local actual
  # shellcheck disable=SC2317 # called below
  ends_with_2() { printf 'verdict\n' && exit 2; }
  for output in /dev/full '&-'; do
    actual=0
    (eval "print_if_possible ends_with_2 >$output") 2>/dev/null || actual=$?
    [[ $actual == 2 ]] || die "with stdout on $output, the exit status is $actual"
  done
  actual=0
  (print_if_possible ends_with_2 | true) || actual=$?
  [[ $actual == 2 ]] || die "with a reader that has ended, the exit status is $actual"
  actual=0
  (die "an error" 2>/dev/full) || actual=$?
  [[ $actual == 1 ]] || die "with stderr on a full disk, the exit status is $actual"
}

# As other systems' editors write it.
test_a_byte_order_mark() {
  printf '\xef\xbb\xbfPOSTGRES_A_PORT=many\r\n' >"$RUN_DIR/env"
  expect 1 "POSTGRES_A_PORT is 'many'" env --unset=POSTGRES_A_PORT ENV_FILE="$RUN_DIR/env" "$ROOT/start-replication.sh" --native postgres-a
  expect 3 "there is no such file" env ENV_FILE="$RUN_DIR/none" "$ROOT/check-replication.sh"
}

# What differs is found however many parts of a table have rows that are on their way.
test_comparison_by_value() (
  source "$ROOT/scripts/compare/table.sh"
  WORK=$RUN_DIR
  mapfile -t PARTS_DIFFERENT < <(seq 1200)
  # shellcheck disable=SC2317 # rows_compare calls it
  sides_read() {
    printf '%s\n' 'row 2831 changed' 'pending 2831' >"$WORK/a"
    : >"$WORK/b"
    [[ ,$2, != *,1100,* ]] || printf 'row 2832 wrong\n' >"$WORK/b"
  }
  rows_compare of_many_parts
  [[ $(<"$WORK/different") == 2832 ]] || die "expected the key 2832 to differ, got: $(<"$WORK/different")"
  # shellcheck disable=SC2317 # as on a full disk
  sort() { return 2; }
  ! rows_compare of_many_parts || die "what could not be written counts as equal"
)

# Those that fail, and their tests, are named at the end; the others run to theirs.
test_steps() (
  local actual
  source "$ROOT/scripts/test-steps.sh"
  {
    step_beside "Rust" bash -c "printf 'test %s\n' 'a::passes ... ok' 'a::fails ... FAILED'; exit 101"
    step_beside "Slow, as docs/slow.md says" bash -c "sleep 0.2; echo slow output"
    step_beside "Fails" bash -c "exit 3"
    step_beside "Waits for its turn" echo last output
    ! steps_await || die "steps that fail count as well"
    steps_abandon
  } >"$RUN_DIR/steps" 2>&1
  actual=$(printf '%s\n' "${STEPS_FAILED[@]}" | sort)
  [[ $actual == "Fails (run by itself: bash -c exit 3)"$'\n'"Rust (a::fails)" ]] || die "failed: $actual"
  [[ $(grep --count '^\(slow\|last\) output$' "$RUN_DIR/steps") == 2 ]] || die "an output is not shown: $(<"$RUN_DIR/steps")"
)

main() {
  export ENV_FILE=/dev/null
  RUN_DIR=$(mktemp --directory)
  export RUN_DIR
  trap 'rm -rf "$RUN_DIR"' EXIT
  test_usage
  test_logs
  test_bad_settings
  test_bad_servers
  test_certificates
  test_versions_of_compose
  test_versions_of_the_readme
  test_addresses
  test_no_engine
  test_taken_port
  test_settings_are_documented
  test_example_changes_nothing
  test_compose_defaults
  test_compose_file
  test_outbox_growth
  test_publishing_held
  test_standing_still
  test_paused
  test_comparison
  test_comparison_by_value
  test_what_is_not_known
  test_errors_in_the_log
  test_outputs_that_take_nothing
  test_a_byte_order_mark
  "$ROOT/scripts/test-documents.sh"
}

main "$@"
