#!/usr/bin/env bash
# Set up emforce in this folder: Debian packages, virtual environment, pinned Python packages, GPAW.
#
#   scripts/setup.sh serial VENV       GPAW without MPI, whatever compiler is on PATH (the default)
#   scripts/setup.sh mpi VENV          GPAW with MPI
#
# Idempotent. The stamp file is the hash of everything the environment is made from, and is written last: a set-up
# that was killed half way, or whose inputs changed, is done again by the next call; a finished one returns at once.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:-serial}
venv=${2:-.venv}
case $build in
    serial)
        siteconfig=gpaw-siteconfig.py
        compiler=g++
        packages=(libxc-dev libopenblas-dev g++ python3-dev python3-venv)
        ;;
    mpi)
        siteconfig=gpaw-siteconfig-mpi.py
        compiler=mpicxx
        packages=(libxc-dev libopenblas-dev g++ python3-dev python3-venv libopenmpi-dev openmpi-bin libfftw3-dev)
        ;;
    *)
        echo "setup: build '$build' is not allowed; allowed: serial, mpi" >&2
        exit 2
        ;;
esac

say() { printf 'setup (%s): %s\n' "$build" "$*"; }

stamp=$venv/.emforce-setup
hash=$({ cat requirements.lock pyproject.toml "$siteconfig" scripts/setup.sh; pwd; } | sha256sum | cut -d' ' -f1)
if [ -x "$venv/bin/emforce" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ]; then
    exit 0
fi

start=$SECONDS

# One set-up at a time in a folder; the lock goes with the process, so a killed set-up leaves none behind.
exec 9>"$venv.lock"
if command -v flock >/dev/null; then flock 9; fi
if [ -x "$venv/bin/emforce" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ]; then
    exit 0
fi
rm -f "$stamp"

# 1. Debian packages. Without apt-get (another system) the compiler says what is missing.
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    missing=()
    for package in "${packages[@]}"; do
        status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
        [ "$status" = "install ok installed" ] || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" -eq 0 ]; then
            root=()
        elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            root=(sudo -n)
        else
            echo "setup: missing Debian packages; install them first: apt-get install ${missing[*]}" >&2
            exit 1
        fi
        say "installing Debian packages: ${missing[*]}"
        install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300
                 install --no-install-recommends)
        # The package lists may be absent (a fresh machine) or old: refresh them when a first try fails.
        if ! "${install[@]}" "${missing[@]}" >/dev/null 2>&1; then
            "${root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 update
            "${install[@]}" "${missing[@]}" >/dev/null
        fi
    fi
fi

# 2. The virtual environment, with the first Python that is new enough.
if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    python=
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip
sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "setup: no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python3" >&2
        exit 1
    fi
    say "making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

# 3. Pinned packages; GPAW is compiled here. uv itself is pinned in the lock too, so pip can check its hash.
uv_pin=$(mktemp)
trap 'rm -f "$uv_pin"' EXIT
awk '/^uv==/ {on = 1} on {print} on && !/\\$/ {exit}' requirements.lock >"$uv_pin"
if [ ! -s "$uv_pin" ]; then
    echo "setup: requirements.lock does not pin uv; run: make lock" >&2
    exit 1
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$uv_pin"

is_built() {  # the compiled part of GPAW is there, of the kind asked for, and made with this siteconfig
    [ "$(cat "$venv/.emforce-gpaw" 2>/dev/null)" = "$key" ] && is_kind
}

is_kind() {
    "$venv/bin/python" -c '
import sys
import _gpaw
sys.exit(hasattr(_gpaw, "Communicator") != (sys.argv[1] == "mpi"))' "$build" 2>/dev/null
}

# A compiled GPAW lies in uv's cache. uv's key for it knows the config settings but not the file that GPAW_CONFIG
# names, so the file's hash goes in as a setting: a serial and an MPI build never stand in for one another.
key=$({ cat "$siteconfig"; "$compiler" --version 2>&1 | head -1; } | sha256sum | cut -c1-16)
export GPAW_CONFIG=$PWD/$siteconfig CC=$compiler CXX=$compiler OMPI_CXX=g++ OMPI_CC=gcc
uv_install() {
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" \
        --config-settings-package "gpaw:emforce-build=$build-$key" "$@"
}
say "installing pinned packages and compiling GPAW (about a minute)"
if [ ! -e "$venv/bin/gpaw" ]; then
    echo "$key" >"$venv/.emforce-gpaw"
fi
uv_install --require-hashes -r requirements.lock
if ! is_built; then
    say "the GPAW found is not a $build build made with $siteconfig; compiling it again"
    uv_install --no-cache --reinstall-package gpaw --require-hashes -r requirements.lock
    echo "$key" >"$venv/.emforce-gpaw"
    if ! is_kind; then
        echo "setup: GPAW was compiled but is not a working $build build; see: $venv/bin/gpaw info" >&2
        exit 1
    fi
fi
uv_install --no-deps -e .

echo "$hash" >"$stamp"
say "done in $((SECONDS - start)) s: $venv"
