#!/usr/bin/env bash
# Install and start a whole Slurm on this machine, for tests: munge, MariaDB, slurmdbd, slurmctld and one slurmd.
# Asks for root; refuses where another Slurm is configured. Debian 12's Slurm is 22.05. Running it again starts what is down.
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
mark="# Written by tests/slurm/start.sh"
conf=/etc/slurm/slurm.conf
state=/var/lib/cg_lab-slurm

[ "$(id -u)" = 0 ] || { echo "a Slurm of one's own needs root: sudo make slurm" >&2; exit 1; }
if [ -e "$conf" ] && ! grep -qF "$mark" "$conf"; then
    echo "$conf is not ours: this machine has a Slurm already, which stays as it is" >&2
    exit 1
fi
bash "$here/../install_system_packages.sh" slurm-wlm munge slurmdbd mariadb-server

wait_for() {  # seconds, what, command...
    local left=$1 what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((left-- > 0)) || { echo "$what does not answer; see $state/log" >&2; exit 1; }
        sleep 1
    done
}

host="$(hostname)"
cores="$(nproc)"
memory_mb="$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10))"
install -d -o slurm -g slurm "$state" "$state/ctld" "$state/log" /run/slurm
install -d "$state/d" /etc/slurm
install -d -o munge -g munge /run/munge /var/log/munge
install -d -o mysql -g mysql /run/mysqld

munge -n 2>/dev/null | unmunge >/dev/null 2>&1 || su munge -s /bin/sh -c /usr/sbin/munged
wait_for 20 munge sh -c 'munge -n | unmunge'

start-stop-daemon --start --oknodo --background --exec /usr/sbin/mariadbd -- --user=mysql
wait_for 60 MariaDB mariadb -e 'select 1'
mariadb -e "create database if not exists slurm_acct_db;
    create user if not exists slurm@localhost identified by 'slurm';
    grant all on slurm_acct_db.* to slurm@localhost;"

install -o slurm -m 600 /dev/stdin /etc/slurm/slurmdbd.conf <<END
$mark
AuthType=auth/munge
DbdHost=localhost
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile=$state/log/slurmdbd.log
PidFile=/run/slurm/slurmdbd.pid
END
# A short scheduler interval, and credentials that expire soon, so that tests do not wait for Slurm: a requeued task
# stays in the queue until its credential is old.
cat > "$conf" <<END
$mark
ClusterName=lab
SlurmctldHost=$host
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/d
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.log
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
JobAcctGatherType=jobacct_gather/linux
JobRequeue=1
MaxArraySize=${MAX_ARRAY_SIZE:-1001}
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$host CPUs=$cores RealMemory=$memory_mb State=UNKNOWN
PartitionName=main Nodes=$host Default=YES PriorityTier=1 MaxTime=INFINITE State=UP
PartitionName=high Nodes=$host PriorityTier=10 MaxTime=INFINITE State=UP
END
pgrep -x slurmdbd >/dev/null || slurmdbd
wait_for 60 slurmdbd sacctmgr -n show cluster
sacctmgr -n show cluster lab | grep -q lab || sacctmgr -i add cluster lab >/dev/null

pgrep -x slurmctld >/dev/null || slurmctld
pgrep -x slurmd >/dev/null || slurmd
wait_for 60 slurmctld scontrol ping
scontrol update nodename="$host" state=resume >/dev/null 2>&1 || true
wait_for 60 "the node" sh -c 'sinfo -h -o %T | grep -qE "idle|mixed|allocated"'
sinfo
