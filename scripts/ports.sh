# shellcheck shell=bash
# Checks that all ports are free before anything is started.

# ports_check COMPONENT…: ends the script with what to do if a port of one of them is in use.
# A component that is already up is left out: it has its ports.
ports_check() {
  local component variable port all_free=true
  local -A used_by=()
  for component in "$@"; do
    component_is_up "$component" && continue
    while read -r variable; do
      port=${!variable}
      if [[ -n ${used_by[$port]:-} ]]; then
        error "$variable and ${used_by[$port]} are both $port."
        all_free=false
      elif port_is_taken "$port"; then
        error "Port $port ($component) is in use by $(port_holder "$port"). Set $variable to another port."
        all_free=false
      fi
      used_by[$port]=$variable
    done < <(component_ports "$component")
  done
  $all_free || die "Nothing was started. Free these ports, or set the variables named above, in the environment or in .env."
}

# The inode numbers of the sockets that listen on a port of 127.0.0.1 or of all addresses.
port_sockets() {
  local hex_port
  printf -v hex_port '%04X' "$1"
  # Field 2 is the local address, 4 the state (0A: listening), 10 the inode.
  awk -v port=":$hex_port" '
    BEGIN {
      zeros = "00000000"
      ours["0100007F" port]; ours[zeros port]; ours[zeros zeros zeros zeros port]
      ours[zeros zeros "0000FFFF" "0100007F" port]; ours[zeros zeros zeros "01000000" port]
    }
    $2 in ours && $4 == "0A" { print $10 }
  ' /proc/net/tcp /proc/net/tcp6 2>/dev/null || true
}

port_is_taken() { [[ -n $(port_sockets "$1") ]]; }

# "nats-server (pid 17)", as far as other users' processes may be inspected.
port_holder() {
  local inode fd pid
  for inode in $(port_sockets "$1"); do
    fd=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" -print -quit 2>/dev/null) || true
    [[ $fd =~ ^/proc/([0-9]+)/ ]] || continue
    pid=${BASH_REMATCH[1]}
    printf '%s (pid %s)' "$(cat "/proc/$pid/comm")" "$pid"
    return
  done
  printf 'a process that only root can see'
}
