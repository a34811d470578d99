#!/usr/bin/env bash
# Runs a command in the container image on the GPUs of this machine (docs/containers.md).
#
#   launchers/ngc.sh [OPTION ...] [--] COMMAND [ARGUMENT ...]
#   launchers/ngc.sh -- torchrun --nproc-per-node 8 -m d2plm_megatron train fm_450m data.train=data/uniref50/train
#
#   --image NAME     the image; d2plm, as docs/containers.md builds it
#   --gpus WHICH     all, or as Docker writes it: 4, "device=0,1"; none for a machine without
#   --mount FOLDER   a folder that the command sees under the same path; again for another
#   --env NAME       a variable that is handed on, by its name alone, so that no secret is seen; again for another
#   --shm-size SIZE  shared memory of its own, as 16g, instead of the machine's
#   --dry-run        prints what would be run
#
# The folder in which it is started is mounted and entered, and files belong to who starts it. The exit code is the
# command's: 75 says that a training was interrupted and saved, and that the same command continues it.

set -euo pipefail

refuse() {
    echo "error: $1" >&2
    exit 2
}

image=d2plm gpus=all shared=(--ipc=host) folders=("$PWD") names=() dry_run=
while [ $# -gt 0 ]; do
    case $1 in
        --image | --gpus | --mount | --env | --shm-size)
            [ $# -gt 1 ] || refuse "$1: needs a value"
            case $1 in
                --image) image=$2 ;;
                --gpus) gpus=$2 ;;
                --mount) folders+=("$2") ;;
                --env) names+=("$2") ;;
                --shm-size) shared=(--shm-size "$2") ;;
            esac
            shift 2
            ;;
        --dry-run) dry_run=yes; shift ;;
        -h | --help) sed -n '2,/^$/{/^$/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        --) shift; break ;;
        -*) refuse "$1: no such option; --help lists them, and -- begins the command" ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || refuse "no command: name one, as in launchers/ngc.sh -- d2plm recipes"

# Transformer Engine and NCCL want memory that is locked and shared, and long stacks. A save may take longer than the
# ten seconds that Docker gives after SIGTERM, which --init passes on.
options=(--rm --init --stop-timeout 300 "${shared[@]}" --ulimit memlock=-1 --ulimit stack=67108864)
options+=(--user "$(id -u):$(id -g)" --workdir "$PWD")
[ "$gpus" = none ] || options+=(--gpus "$gpus")
[ ! -t 0 ] || [ ! -t 1 ] || options+=(--interactive --tty)
for folder in "${folders[@]}"; do
    [ -d "$folder" ] || refuse "--mount $folder: no such folder"
    path=$(cd "$folder" && pwd)
    case $path in *[,\"]*) refuse "--mount $path: Docker cannot mount a path with a comma or a quote" ;; esac
    options+=(--mount "type=bind,source=$path,target=$path")
done
for name in "${names[@]}"; do
    [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || refuse "--env ${name%%=*}: give the name alone, and set the variable before"
    [ -n "${!name+set}" ] || refuse "--env $name: is not set"
    options+=(--env "$name")
done

call=(docker run "${options[@]}" "$image" "$@")
if [ "$dry_run" ]; then
    printf '%q ' "${call[@]}"
    echo
    exit 0
fi
command -v docker >/dev/null || refuse "docker: not found; --dry-run prints the command, and docs/containers.md has other ways"
exec "${call[@]}"
