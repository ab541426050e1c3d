# shellcheck shell=bash
# A clean root: the packages of this machine that the package depends on, and a shell for its scripts. Needs CLEAN, its
# directory.

# What it depends on, and what that needs to run.
readonly THERE=(libc6 libgcc-s1 ca-certificates dash coreutils libacl1 libattr1 libgmp10 libselinux1 libpcre2-8-0)
root_make() {
  local package directory
  mkdir -p "$CLEAN"/{usr/{bin,sbin,lib,lib64},etc/ssl/certs,run,tmp,var/lib/dpkg/{info,updates}}
  for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$CLEAN/$directory"; done
  for package in "${THERE[@]}"; do
    package_copy "$package"
    dpkg-query --status "$package" >>"$CLEAN/var/lib/dpkg/status"
    printf '\n' >>"$CLEAN/var/lib/dpkg/status"
    cp "$(dpkg-query --control-path "$package" md5sums | sed 's/md5sums$/list/')" "$CLEAN/var/lib/dpkg/info/"
  done
  cp /etc/ssl/certs/ca-certificates.crt "$CLEAN/etc/ssl/certs/"
}

# The programs and libraries of a package, where this machine has them.
package_copy() {
  local path paths=()
  while IFS= read -r path; do
    [[ ! $path =~ ^(/usr)?/(s?bin|lib|lib64)/ || -d $path || ! -e $path ]] || paths+=("${path#/}")
  done < <(dpkg-query --listfiles "$1")
  [[ ${#paths[@]} -eq 0 ]] || tar --create --directory=/ --file=- "${paths[@]}" | tar --extract --directory="$CLEAN" --keep-directory-symlink --file=-
}

# dpkg, at work there.
dpkg_there() { dpkg --root="$CLEAN" --log=/dev/null "$@" >/dev/null; }

status_there() { dpkg-query --root="$CLEAN" --show --showformat='${Status}' "$1"; }

# Every file but dpkg's own records.
files_there() { (cd "$CLEAN" && find . -path ./var/lib/dpkg -prune -o -print | sort); }
