#!/usr/bin/env bash
# Runs a command on a SLURM cluster of one node that exists only as long as the command does.
#
#   tests/e2e/one_node_slurm.sh COMMAND [ARGUMENT …]
#
# Needs root and the packages slurm-wlm and munge of Debian or Ubuntu. Configuration, keys, sockets, logs and
# state are in a temporary folder; when the command ends, however it ends, its jobs are cancelled, the
# daemons stopped and the folder removed. The exit code is the command's. No service of the system is used.
set -euo pipefail

die() { echo "one_node_slurm: $*" >&2; exit 69; }
[ $# -gt 0 ] || die "which command should run?"
[ "$(id -u)" = 0 ] || die "root is needed to start the daemons"
for program in munged slurmctld slurmd sinfo scancel; do
    command -v $program > /dev/null || die "$program is not installed (slurm-wlm, munge)"
done

# munge wants its socket below folders that others cannot write to; a short path fits into a socket's name.
home=$(mktemp -d /run/one-node-slurm.XXXXXX)
declare -A daemons
tear_down() {
    trap - EXIT
    scancel --user=root 2> /dev/null || true
    for name in slurmd slurmctld munged; do stop $name; done
    rm -rf "$home"
}
stop() {
    local pid=${daemons[$1]:-}
    [ -n "$pid" ] && kill "$pid" 2> /dev/null || return 0
    for _ in $(seq 100); do kill -0 "$pid" 2> /dev/null || return 0; sleep 0.1; done
    kill -9 "$pid" 2> /dev/null || true
}
trap tear_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

chmod 755 "$home"
mkdir "$home"/{munge,state,spool}
dd if=/dev/urandom of="$home/munge/key" bs=128 count=1 status=none
chmod 600 "$home/munge/key"
chown -R munge: "$home/munge"

free_ports() { python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in held))'; }
read -r controller node <<< "$(free_ports)"
host=$(hostname -s)
memory=$(awk '/^MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
cat > "$home/slurm.conf" << END
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmdPort=$node
AuthType=auth/munge
AuthInfo=socket=$home/munge/socket
CredType=cred/munge
SlurmUser=root
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=$memory
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF=$home/slurm.conf

start() {
    local name=$1
    shift
    "$@" > "$home/$name.out" 2>&1 &
    daemons[$name]=$!
}
start munged setpriv --reuid=munge --regid=munge --clear-groups munged --foreground --force \
    --key-file="$home/munge/key" --socket="$home/munge/socket" --pid-file="$home/munge/pid" \
    --seed-file="$home/munge/seed" --log-file="$home/munge/log" --num-threads=2
for _ in $(seq 100); do [ -S "$home/munge/socket" ] && break; sleep 0.1; done
start slurmctld slurmctld -D -c
start slurmd slurmd -D -c
for _ in $(seq 300); do
    [ "$(sinfo --noheader --format=%t 2> /dev/null)" = idle ] && break
    sleep 0.1
done
if [ "$(sinfo --noheader --format=%t 2> /dev/null)" != idle ]; then
    tail -n 5 "$home"/*.out "$home"/*.log >&2
    die "the node did not become ready"
fi
"$@"
