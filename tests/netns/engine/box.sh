# A box for guests: one process tree that cannot outlive us. Sourced by engine/run.
#
# The guest gets a process namespace; when its first process dies, the kernel kills all others,
# User Mode Linux's helpers included. Its first process dies with unshare, unshare with timeout,
# timeout with us. Where no namespace may be made (a container without rights) the helpers are
# found by their session instead.

# boxed SECONDS COMMAND...: 0 seconds is for ever. Meant to be put in the background.
boxed() {
    local seconds=$1
    shift
    local limit=(timeout --foreground --signal=KILL "$seconds")
    if unshare --pid --fork true 2>/dev/null; then
        exec setpriv --pdeathsig KILL "${limit[@]}" \
            setpriv --pdeathsig KILL unshare --pid --fork --kill-child=KILL \
            bash -c '"$@"; exit $?' box "$@"
    fi
    exec setpriv --pdeathsig KILL "${limit[@]}" \
        setpriv --pdeathsig KILL bash -c '
            # No process namespace here: a session marks the family, and a guard ends it with us.
            setsid --fork bash -c "echo \$\$ >\"\$0\"; exec \"\$@\"" "$0" "$@" &
            while [ ! -s "$0" ]; do sleep 0.05; done
            session=$(cat "$0")
            setsid bash -c "while kill -0 $$ 2>/dev/null && kill -0 $session 2>/dev/null; do sleep 0.3; done
                            pkill -KILL -s $session" >/dev/null 2>&1 </dev/null &
            while kill -0 "$session" 2>/dev/null; do sleep 0.2; done' "$job/session" "$@"
}
