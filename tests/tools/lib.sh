# Shared by the scripts in this directory; sourced, never run.
# Progress goes to standard error, so that a script's standard output stays its answer.

# shellcheck shell=bash disable=SC2034

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$TOOLS/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/tools

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# need COMMAND WHY: what no script here can install for you.
need() {
    command -v "$1" >/dev/null || die "$1 is not installed; $2"
}

# newer_or_equal HAVE WANT: compares dotted versions.
newer_or_equal() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# stage NAME COMMAND...: runs one stage, says which, and how long it took; ends the script when it fails.
stage() {
    local name=$1 begin=$SECONDS status=0
    shift
    say "==> $name"
    "$@" || status=$?
    if [ "$status" -ne 0 ]; then
        say "==> $name FAILED after $((SECONDS - begin)) s"
        exit "$status"
    fi
    say "==> $name: $((SECONDS - begin)) s"
}
