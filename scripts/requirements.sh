# shellcheck shell=bash
# What the scripts need of the machine. Sourced by them, after set -euo pipefail.

sources=$(dirname "${BASH_SOURCE[0]}")/..

has() { command -v "$1" >/dev/null 2>&1; }
fail() { echo "$*" >&2; exit 1; }

# A cargo as new as Cargo.toml asks for. rustup changes PATH only for shells that start after it.
require_cargo() {
  # shellcheck disable=SC1091
  if ! has cargo && [ -f "${HOME:-}/.cargo/env" ]; then source "$HOME/.cargo/env"; fi
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$sources/Cargo.toml")
  has cargo || fail "cargo is missing: install Rust $wanted or newer from https://rustup.rs, then run this again"
  found=$(cargo --version) || fail "cargo does not run: $(command -v cargo)"
  found=${found#cargo }
  found=${found%%[ -]*}
  printf '%s\n' "$wanted" "$found" | sort -V -C ||
    fail "cargo $found is too old: Rust $wanted or newer is needed (rustup update stable, or https://rustup.rs)"
}

# Sets DBSNAP_TEST_CACHE, the folder of test servers and tools, for this script and those it calls; always an absolute path.
use_test_cache() {
  DBSNAP_TEST_CACHE=$(realpath -m -- "${DBSNAP_TEST_CACHE:-${HOME:?set HOME or DBSNAP_TEST_CACHE}/.cache/dbsnap-test}")
  export DBSNAP_TEST_CACHE
}

# Prints the Debian packages of the build that are missing, one a line.
missing_for_the_build() {
  has gcc || printf '%s\n' gcc libc6-dev
  has npm || echo npm
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
}

# install_packages NAME...: as root, or through sudo.
install_packages() {
  [ $# -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
  if ! has apt-get || { [ ${#as_root[@]} -gt 0 ] && ! has sudo; }; then
    fail "install these (the names are Debian's), then run this again: $*"
  fi
  echo "installing $*" >&2
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >/dev/null
}
