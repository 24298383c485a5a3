#!/usr/bin/env bash
# Install the Debian or Ubuntu packages named as arguments, if what they bring is missing.
set -euo pipefail

is_present() {
    case "$1" in
        chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
        make) command -v make ;;
        slurm-wlm) command -v slurmctld && command -v slurmd && command -v sbatch ;;
        munge) command -v munged ;;
        slurmdbd) command -v slurmdbd ;;
        postgresql) ls /usr/lib/postgresql/*/bin/initdb || command -v initdb ;;
        mariadb-server) command -v mariadbd ;;
        python3-venv) python3 -c 'import ensurepip, venv' ;;
        *) return 1 ;;
    esac >/dev/null 2>&1
}

list_missing() {
    local package
    for package in "$@"; do
        is_present "$package" || echo "$package"
    done
}

mapfile -t missing < <(list_missing "$@")
((${#missing[@]})) || exit 0

give_up() {
    echo "missing: ${missing[*]}; $1" >&2
    echo "install them by hand, or run the tests that do without: make test-fast" >&2
    exit 1
}

as_root=()
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || give_up "only root may install packages, and sudo would ask for a password"
    as_root=(sudo -n)
fi
command -v apt-get >/dev/null || give_up "there is no apt-get on this machine"

echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get -qq update >/dev/null || give_up "apt-get update failed"
"${as_root[@]}" apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null || give_up "apt-get install failed"
mapfile -t missing < <(list_missing "$@")
((${#missing[@]} == 0)) || give_up "installed, but not to be found in PATH"
