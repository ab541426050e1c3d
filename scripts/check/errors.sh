# shellcheck shell=bash
# Errors in the logs of the last ten minutes.

readonly ERRORS_WINDOW='10 minutes'
readonly ERRORS_LINES_MAX=20000 # bounds the work: only the end of a very large log is read

# Lines that every orderly start and stop writes, and lines that another place reports better: a server that died, in
# the components section; a client that died or abandoned a hanging server ("connection to client lost"), in the client's
# log. A NATS node that drops an unresponsive peer (gateways cut) logs "Stale Connection"; whether the gateways are
# connected again is in the components section too.
readonly ERRORS_EXPECTED_POSTGRES='FATAL:  (the database system is |terminating connection due to administrator command|terminating connection due to unexpected postmaster exit|connection to client lost)'
readonly ERRORS_EXPECTED_NATS='connection refused|Error getting IP for |Error flushing|Error (trying to connect|connecting) to (route|(explicit |implicit )?gateway)|(Gateway|Route) Error .Stale Connection'

# Prints "COUNT LAST_LINE" for one component.
errors_of() {
  local component=$1 pattern expected='^$'
  case $(component_kind "$component") in
    postgres) pattern=' (ERROR|FATAL|PANIC):  ' expected=$ERRORS_EXPECTED_POSTGRES ;;
    nats) pattern='\[(ERR|FTL)\]' expected=$ERRORS_EXPECTED_NATS ;;
    *) pattern='^[^ ]+ +ERROR ' ;;
  esac
  component_logs "$component" "$ERRORS_LINES_MAX" 2>/dev/null \
    | awk -v since="$(date --utc --date="-$ERRORS_WINDOW" '+%Y-%m-%d %H:%M:%S')" \
      -v pattern="${pattern//\\/\\\\}" -v expected="$expected" '
        $0 !~ pattern || $0 ~ expected { next }
        {
          # NATS: [17] 2026/11/24 08:12:40.1; PostgreSQL: 2026-11-24 08:12:40.1; services: 2026-11-24T08:12:40.1Z
          line = $0
          sub(/^\[[0-9]+\] /, "", line)
          stamp = substr(line, 1, 19)
          gsub("/", "-", stamp)
          sub("T", " ", stamp)
          if (stamp >= since) { count++; last = line }
        }
        END { print count + 0, substr(last, 1, 160) }' || true
}
