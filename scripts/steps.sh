# Shared by the scripts: steps with a title, their time, and a bar of how far things are. Sourced, not run.

STEPS_DONE=0
STEPS_BEGAN=$SECONDS

# step TITLE COMMAND...: runs it, shows what it prints, and says how long it took. Its status is the command's.
step() {
    local title=$1 began=$SECONDS
    shift
    local width=$((STEPS_DONE * 20 / STEPS_TOTAL)) bar
    bar=$(printf '%*s' "$width" '' | tr ' ' '#')
    printf '\n== [%-20s] %d/%d %s\n' "$bar" "$((STEPS_DONE + 1))" "$STEPS_TOTAL" "$title"
    "$@"
    local status=$?
    STEPS_DONE=$((STEPS_DONE + 1))
    printf '== %s: %s%d s (%d s in all)\n' "$title" "$([ "$status" -eq 0 ] || echo "FAILED, ")" "$((SECONDS - began))" \
        "$((SECONDS - STEPS_BEGAN))"
    return "$status"
}
