# shellcheck shell=bash
# Errors in the logs of the last ten minutes.

readonly ERRORS_WINDOW='10 minutes'
readonly ERRORS_LINES_MAX=20000 # bounds the work: only the end of a very large log is read

# Of PostgreSQL's log count: errors of its own processes, of the services' sessions, of capture in anybody's session (by
# the context that follows), and what says that the server or its disk is in trouble. What an operator mistypes, or an
# application provokes, is theirs.
readonly ERRORS_POSTGRES='^[^[]*\[[0-9]+\] (ERROR|FATAL|PANIC):  |@transactions/(outbox-publisher|inbox-processor) (ERROR|FATAL|PANIC):  '
readonly ERRORS_POSTGRES_SERVER=' PANIC:  | (ERROR|FATAL):  .*(No space left on device|could not (read|write|extend|fsync) |invalid page|out of (shared )?memory|too many clients|remaining connection slots)'
readonly ERRORS_POSTGRES_CAPTURE=' CONTEXT:  .*replication\.capture_'

# Errors of the services, in each LOG_FORMAT.
readonly ERRORS_SERVICE='^([^ ]+ +ERROR |ts=[^ ]+ level=error |[{]"ts":"[^"]+","level":"error",)'

# Lines that every orderly start and stop writes, and lines that another place reports better: a server that died, in
# the components section; a client that died or abandoned a hanging server ("connection to client lost"), in the client's
# log. A NATS node that drops an unresponsive peer (gateways cut) logs "Stale Connection"; whether the gateways are
# connected again is in the components section too.
readonly ERRORS_EXPECTED_POSTGRES='FATAL:  (the database system is |terminating .* due to (administrator command|unexpected postmaster exit)|connection to client lost)'
readonly ERRORS_EXPECTED_NATS='connection refused|Error getting IP for |Error flushing|Error (trying to connect|connecting) to (route|(explicit |implicit )?gateway)|(Gateway|Route) Error .Stale Connection'

# Prints "COUNT LAST_LINE" for one component. False if its log cannot be read.
errors_of() {
  local component=$1 pattern expected='^$' context='^$'
  component_has_log "$component" || {
    printf '0\n'
    return 0
  }
  case $(component_kind "$component") in
    postgres) pattern="$ERRORS_POSTGRES|$ERRORS_POSTGRES_SERVER" expected=$ERRORS_EXPECTED_POSTGRES context=$ERRORS_POSTGRES_CAPTURE ;;
    nats) pattern='\[(ERR|FTL)\]' expected=$ERRORS_EXPECTED_NATS ;;
    monitoring) pattern=' level=error ' ;;
    *) pattern=$ERRORS_SERVICE ;;
  esac
  component_logs "$component" "$ERRORS_LINES_MAX" 2>/dev/null \
    | awk -v since="$(date --utc --date="-$ERRORS_WINDOW" '+%Y-%m-%d %H:%M:%S')" \
      -v pattern="${pattern//\\/\\\\}" -v expected="$expected" -v context="${context//\\/\\\\}" '
        function count_if_recent(line, stamp) {
          # NATS: [17] 2026/11/24 08:12:40.1; PostgreSQL: 2026-11-24 08:12:40.1; services: 2026-11-24T08:12:40.1Z, or as a
          # field, as Prometheus: ts=2026-11-24T08:12:40.1Z
          stamp = line
          sub(/^(\[[0-9]+\] |ts=|\{"ts":")/, "", stamp)
          stamp = substr(stamp, 1, 19)
          gsub("/", "-", stamp)
          sub("T", " ", stamp)
          if (stamp >= since) { count++; last = line }
        }
        # What an application met counts if capture raised it, which the lines that follow tell.
        $0 ~ context && others != "" { count_if_recent(others); others = "" }
        / (ERROR|FATAL|PANIC):  / { others = $0 }
        $0 !~ pattern || $0 ~ expected { next }
        { count_if_recent($0); others = "" }
        END { gsub(/[[:cntrl:]]/, "?", last); print count + 0, substr(last, 1, 160) }'
}
