#!/usr/bin/env bash
# Install what the tests run against beside Python: a PostgreSQL server and Chromium (Debian packages).
#
#   scripts/services.sh
#
# Idempotent. Only the programs are installed here: each test session starts a private PostgreSQL server of its own, on a
# socket in a temporary folder, and stops it. The cluster that Debian's package would make and start is not wanted.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'services: %s\n' "$*"; }

has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; }
has_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null; }

missing=()
has_postgresql || missing+=(postgresql)
has_chromium || missing+=(chromium)
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "services: missing: ${missing[*]}; install them first" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    root=(sudo -n)
else
    echo "services: missing Debian packages; install them first: apt-get install ${missing[*]}" >&2
    exit 1
fi

start=$SECONDS
say "installing Debian packages: ${missing[*]}"
install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300
         install --no-install-recommends)
if printf '%s\n' "${missing[@]}" | grep -qx postgresql && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    "${root[@]}" mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" | "${root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    # the package brings this file too: keep ours without asking
    install+=(-o Dpkg::Options::=--force-confold)
fi
# The package lists may be absent (a fresh machine) or old: refresh them when a first try fails.
if ! "${install[@]}" "${missing[@]}" >/dev/null 2>&1; then
    "${root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 update
    "${install[@]}" "${missing[@]}" >/dev/null
fi
if ! has_postgresql || ! has_chromium; then
    echo "services: installed, but initdb or chromium is still not found" >&2
    exit 1
fi
say "done in $((SECONDS - start)) s"
