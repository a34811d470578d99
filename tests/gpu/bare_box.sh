#!/usr/bin/env bash
# The first look on a machine with a GPU and no network, which has torch for CUDA and may lack all else.
#
#   tests/gpu/bare_box.sh fetch WHEELS              where there is a network, with the Python of that machine (PYTHON=...):
#                                                   collects this project and what it needs, but torch, 60 MB
#   tests/gpu/bare_box.sh run WHEELS OUT [PART...]  there, in the root of this project: leaves OUT/PART.txt and .json for each
#
# Parts: tiny, 450m_time, 450m, 650m, 8m and 8m_long profile a training step (rate, memory, where the host waits, kernels);
# tests are tests/gpu; training compares with Hugging Face's ESM-2. A part that fails does not keep the next from running.

set -euo pipefail
PYTHON=${PYTHON:-python3}
DEPENDENCIES='import tomllib; print(*(d for d in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]
                                      if not d.startswith(("torch", "megatron-core"))), sep="\n")'

main() {
    cd "$(dirname "$0")/../.."
    case "${1:-} $#" in
        "fetch 2") fetch "$2" ;;
        "run "[3-9] | "run "1[0-9]) run "${@:2}" ;;
        *) sed -n '2,/^$/{/^$/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
    esac
}

fetch() {
    mapfile -t needed < <("$PYTHON" -c "$DEPENDENCIES")
    "$PYTHON" -m pip wheel --quiet --wheel-dir "$1" "${needed[@]}" pytest pytest-timeout
    "$PYTHON" -m pip wheel --quiet --wheel-dir "$1" --no-deps 'megatron-core>=0.16,<0.17' .
    du -sh "$1"
}

run() {
    local wheels=$1 failed=()
    out=$2
    mkdir -p "$out"
    install "$wheels" "$out/packages"
    export PYTHONPATH=$PWD:$out/packages NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-lo}
    local parts=("${@:3}")
    [ ${#parts[@]} -gt 0 ] || parts=(tiny 450m_time 450m 650m 8m 8m_long tests training)
    for part in "${parts[@]}"; do
        echo "== $part"
        look "$part" 2>&1 | tee "$out/$part.txt" || failed+=("$part")
    done
    rm -rf "$out/packages"
    [ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
}

# What the machine has already stays as it is: its torch may have been built for it.
install() {
    for wheel in "$1"/*.whl; do
        [ -e "$wheel" ] || continue
        name=$(basename "$wheel" | cut -d- -f1)
        "$PYTHON" -c "import importlib.metadata as m; m.version('$name')" 2>/dev/null ||
            "$PYTHON" -m pip install --quiet --no-index --no-deps --target "$2" "$wheel"
    done
}

look() {
    local step=("$PYTHON" -m benchmarks.profile_step --json "$out/$1.json")
    case $1 in
        tiny) "${step[@]}" model=tiny ;;
        450m_time) "${step[@]}" model=450m_time objective=flow_matching ;;
        450m) "${step[@]}" model=450m ;;
        650m) "${step[@]}" model=esm2_650m objective=mlm ;;
        8m) "${step[@]}" model=esm2_8m objective=mlm ;;
        8m_long) "${step[@]}" model=esm2_8m objective=mlm data.tokens_per_pack=131072 train.global_batch_tokens=131072 ;;
        tests) "$PYTHON" -m pytest tests/gpu -q -rs ;;
        training) "$PYTHON" -m benchmarks.training --device cuda --size esm2_650m --json "$out/$1.json" ;;
        *) echo "error: no part is called $1; see the top of $0" >&2; return 2 ;;
    esac
}

main "$@"
