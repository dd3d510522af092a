#!/usr/bin/env bash
# A real SLURM on this machine, for tests: one controller, two virtual nodes of one core each, its own munge.
#
#   scripts/slurm.sh install   Debian packages, if they are missing
#   scripts/slurm.sh start     install, then start; prints how to use it
#   scripts/slurm.sh env       prints what to eval:  eval "$(scripts/slurm.sh env)"
#   scripts/slurm.sh status    nodes and jobs; exit code 1 if it is not running
#   scripts/slurm.sh stop      cancels all jobs, ends the daemons, removes the folder
#
# Needs no systemd and no cgroups; works as root in a container. Everything lies in one folder, $EMFORCE_SLURM_DIR,
# and no file elsewhere is changed.
set -euo pipefail

folder=${EMFORCE_SLURM_DIR:-${TMPDIR:-/tmp}/emforce-slurm-$(id -u)}
nodes=(n1 n2)
port=${EMFORCE_SLURM_PORT:-16817}  # controller; the nodes take the two ports after it
packages=(slurmctld slurmd slurm-client munge)
conf=$folder/slurm.conf
export SLURM_CONF=$conf PATH=$PATH:/usr/sbin:/sbin

fail() { printf 'slurm: %s\n' "$*" >&2; exit 1; }

install_packages() {
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v sbatch >/dev/null \
        && command -v munged >/dev/null && return
    command -v apt-get >/dev/null || fail "install these first: ${packages[*]}"
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            root=(sudo -n)
        else
            fail "missing Debian packages; install them first: apt-get install ${packages[*]}"
        fi
    fi
    echo "slurm: installing Debian packages: ${packages[*]}"
    local install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300
                   install --no-install-recommends "${packages[@]}")
    # The package lists may be absent (a fresh machine) or old: refresh them when a first try fails.
    if ! "${install[@]}" >/dev/null 2>&1; then
        "${root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 update
        "${install[@]}" >/dev/null
    fi
}

write_conf() {
    local host memory i
    host=$(hostname -s)
    # half of the machine's memory per node, at most 8000 MB
    memory=$(awk '/^MemTotal/ {m = int($2 / 1024 / 2 * 0.9); print (m > 8000 ? 8000 : m)}' /proc/meminfo)
    cat >"$conf" <<CONF
ClusterName=emforce
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=5
SlurmdParameters=config_overrides
ReturnToService=2
InactiveLimit=0
KillWait=5
MinJobAge=300
CONF
    for i in "${!nodes[@]}"; do
        echo "NodeName=${nodes[$i]} NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1 + i)) CPUs=1 RealMemory=$memory"
    done >>"$conf"
    echo "PartitionName=main Nodes=$(IFS=,; echo "${nodes[*]}") Default=YES MaxTime=1-00:00:00 State=UP" >>"$conf"
}

is_running() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

pid_files() { printf '%s\n' "$folder/slurmctld.pid" "${nodes[@]/#/$folder/slurmd-}" | sed '2,$s/$/.pid/'; echo "$folder/munge/pid"; }

start() {
    if is_running "$folder/slurmctld.pid"; then
        fail "already running in $folder"
    fi
    install_packages
    [ -d "$folder" ] && rm -rf "$folder"
    mkdir -p "$folder/state" "$folder/munge"
    for node in "${nodes[@]}"; do mkdir "$folder/spool-$node"; done
    chmod 755 "$folder" "$folder/munge"
    trap '[ $? -eq 0 ] || stop_quietly' EXIT

    (umask 077; head -c 1024 /dev/urandom >"$folder/munge/key")
    # --force: the folder may lie under /tmp, which everyone can write to; key and socket are ours alone all the same
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
        --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" 2>"$folder/munge/messages" \
        || fail "munged does not start: $(tail -1 "$folder/munge/messages")"
    write_conf
    slurmctld -i || fail "slurmctld does not start: $(tail -1 "$folder/slurmctld.log")"
    for node in "${nodes[@]}"; do
        slurmd -N "$node" || fail "slurmd $node does not start: $(tail -1 "$folder/slurmd-$node.log")"
    done
    for ((i = 0; i < 60; i++)); do
        if [ "$(sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | wc -l)" -eq ${#nodes[@]} ]; then
            echo "slurm: ${#nodes[@]} nodes are ready; use it after: eval \"\$(scripts/slurm.sh env)\""
            return
        fi
        sleep 0.5
    done
    fail "the nodes are not ready after 30 s: $(tail -1 "$folder/slurmctld.log")"
}

stop_quietly() {
    if is_running "$folder/slurmctld.pid"; then
        timeout 10 scancel --full --quiet --user="$(id -un)" 2>/dev/null || true
        for ((i = 0; i < 40; i++)); do
            [ -n "$(timeout 5 squeue --noheader --format=%i 2>/dev/null)" ] || break
            sleep 0.5
        done
    fi
    local file pid
    for file in $(pid_files); do
        if is_running "$file"; then
            pid=$(cat "$file")
            kill "$pid"
            for ((i = 0; i < 40; i++)); do
                kill -0 "$pid" 2>/dev/null || break
                sleep 0.25
            done
            kill -0 "$pid" 2>/dev/null && kill -9 "$pid"
        fi
    done
    rm -rf "$folder"
}

case ${1:-} in
    install) install_packages ;;
    start) start ;;
    env) echo "export SLURM_CONF=$conf" ;;
    status)
        is_running "$folder/slurmctld.pid" || fail "not running"
        sinfo --Node --long
        squeue --long
        ;;
    stop)
        stop_quietly
        echo "slurm: stopped, $folder removed"
        ;;
    *)
        echo "slurm: '${1:-}' is not allowed; allowed: install, start, env, status, stop" >&2
        exit 2
        ;;
esac
