# The running kernel. Sourced by engine/run.

native_missing() {
    if [ "$(id -u)" != 0 ]; then
        echo "we are not root"
    elif [ ! -e /proc/self/ns/net ]; then
        echo "/proc is not mounted (mount -t proc proc /proc)"
    elif [ ! -e /proc/net/ip_vs ] && ! modprobe -q ip_vs 2>/dev/null; then
        echo "the running kernel $(uname -r) has no ip_vs"
    elif ! unshare --net true 2>/dev/null; then
        echo "no network namespace may be made here"
    fi
}

# Modules that a namespace cannot load by itself. Those built in or absent say nothing.
native_prepare() {
    [ -n "${KOI_GUEST:-}" ] && return 0
    modprobe -qa $(cat "$here/modules") 2>/dev/null || true
}
