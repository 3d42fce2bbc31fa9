# Shared by the scripts here: a temporary folder, packages and servers in it, and a comparison. Sourced, not run.
set -euo pipefail

work=$(mktemp -d)
servers=()
mismatches=0

cleanup() {
    local pid
    for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# npm_packages NAME@VERSION...: for scripts in $work
npm_packages() {
    npm install --prefix "$work" --silent --no-audit --no-fund "$@" >/dev/null
}

# python_packages NAME==VERSION...: for $work/venv/bin
python_packages() {
    [ -d "$work/venv" ] || python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-input "$@"
}

# free_port: a port of 127.0.0.1 on which nothing listens
free_port() {
    node -e 'const s = require("node:net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'
}

# serve PORT COMMAND...: starts a server and waits until it listens
serve() {
    local port=$1
    shift
    "$@" >"$work/server.log" 2>&1 &
    servers+=($!)
    curl --silent --output /dev/null --retry 100 --retry-connrefused --retry-delay 0 --retry-max-time 30 "http://127.0.0.1:$port/" && return
    cat "$work/server.log" >&2
    exit 1
}

# seen WHAT EXPECTED ACTUAL: prints it, and remembers whether it is still as it was
seen() {
    if [ "$2" = "$3" ]; then
        printf '%s: %s\n' "$1" "$3"
    else
        printf '%s: %s\n    CHANGED, it was: %s\n' "$1" "$3" "$2"
        mismatches=$((mismatches + 1))
    fi
}

# finish: fails if anything has changed
finish() {
    [ "$mismatches" -eq 0 ] && echo "as it was"
    exit $((mismatches > 0))
}
