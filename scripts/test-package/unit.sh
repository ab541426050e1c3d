# shellcheck shell=bash
# What systemd does with a unit, as far as a service notices: where no systemd runs. Needs CLEAN, the root where the unit is
# installed.

# unit_lines UNIT KEY: the values of a key, with what % stands for.
unit_lines() {
  local file=$1 instance=''
  [[ $1 != *@*.service ]] || instance=${1#*@} instance=${instance%.service} file=${1%%@*}@.service
  sed --quiet "s/^$2=//p" "$CLEAN/usr/lib/systemd/system/$file" \
    | sed "s|%i|$instance|g; s|%t|/run|g; s|%d|/run/credentials/$1|g"
}

# Whether what the unit asserts is there.
unit_asserts() {
  local path
  while IFS= read -r path; do
    [[ -e $CLEAN/$path ]] || return 1
  done < <(unit_lines "$1" AssertPathExists)
}

# Runs what the unit runs, as a user who has nothing, with the unit's settings and credentials, and nothing else. This
# process becomes it.
unit_exec() {
  local unit=$1 environment command name path credentials=$CLEAN/run/credentials/$1
  mkdir -p "$credentials"
  while IFS=: read -r name path; do
    install --owner=nobody --mode=400 "$CLEAN/$path" "$credentials/$name"
  done < <(unit_lines "$unit" LoadCredential)
  while IFS= read -r path; do
    [[ -z $path ]] || install --directory --owner=nobody --mode=755 "$CLEAN/run/$path"
  done < <(unit_lines "$unit" RuntimeDirectory)
  mapfile -t environment < <(
    unit_lines "$unit" EnvironmentFile | while IFS= read -r path; do grep '^[A-Z]' "$CLEAN/$path"; done
    unit_lines "$unit" Environment
  )
  read -r -a command < <(unit_lines "$unit" ExecStart)
  exec chroot --userspec=nobody:nogroup "$CLEAN" /usr/bin/env --ignore-environment "${environment[@]}" "${command[@]}"
}

# What systemd removes when a unit has ended.
unit_ended() {
  local path
  rm -rf "$CLEAN/run/credentials"
  while IFS= read -r path; do rm -rf "${CLEAN:?}/run/$path"; done < <(unit_lines "$1" RuntimeDirectory)
}
