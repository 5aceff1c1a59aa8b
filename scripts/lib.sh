# What the scripts share: finding the project, and installing what is missing. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# is_present WHAT: a command on the path, a file, or, as pkg-config=NAME, a library with its headers.
is_present() {
  case "$1" in
  /*) [ -e "$1" ] ;;
  pkg-config=*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pkg-config=}" ;;
  *) command -v "$1" >/dev/null ;;
  esac
}

# require_packages WHAT:PACKAGE...: installs the Debian package of each WHAT that is not there. Says nothing when nothing is missing.
require_packages() {
  local pair missing=()
  for pair in "$@"; do
    is_present "${pair%%:*}" || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! command -v apt-get >/dev/null; then
    echo "moonring needs these packages (Debian's names), and there is no apt-get to install them: ${missing[*]}" >&2
    return 1
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "moonring needs these packages; install them as root: apt-get install ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "installing what is missing: ${missing[*]}" >&2
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update -q &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    echo "installing failed" >&2
    return 1
  fi
  rm -f "$log"
}

# Where Debian puts lua-cjson, which moonring.http loads when a script first uses JSON.
cjson_path() {
  echo "/usr/lib/$(gcc -print-multiarch)/lua/5.1/cjson.so"
}

require_build_packages() {
  require_packages gcc:gcc cmake:cmake make:make pkg-config:pkg-config luajit:luajit \
    pkg-config=luajit:libluajit-5.1-dev pkg-config=liburing:liburing-dev pkg-config=zlib:zlib1g-dev \
    pkg-config=libcares:libc-ares-dev pkg-config=libcrypto:libssl-dev /usr/include/errno.h:libc6-dev
}

# build DIRECTORY [CMAKE-OPTION...]: configures once and builds, quiet unless something goes wrong.
build() {
  local directory=$1 log
  shift
  [ -f "$directory/CMakeCache.txt" ] || echo "building ${directory#"$PWD/"} for the first time" >&2
  log=$(mktemp)
  if ! { { [ -f "$directory/CMakeCache.txt" ] || cmake -S "$root" -B "$directory" "$@"; } &&
    cmake --build "$directory" --parallel "$(nproc)"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}
