#!/usr/bin/env bash
# Stop what tests/slurm/start.sh started; packages and state stay.
set -uo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root: sudo bash tests/slurm/stop.sh" >&2; exit 1; }
for name in slurmd slurmctld slurmdbd mariadbd munged; do
    pkill -x "$name"
done
true
