# What was found out about engines, remembered until this machine starts anew. Sourced by engine/run.
#
# One file below build/lab/found/ for each engine and each state of what it is made of: another kernel, an upgrade of its
# program or another user finds out for itself. That a guest did not start is believed for an hour: the machine may just
# have been busy.

# pretends WORD: a machine is played that this one is not. KOI_ENGINE_PRETEND=uml-cannot-boot,qemu-cannot-boot
pretends() { [[ ",${KOI_ENGINE_PRETEND:-}," == *",$1,"* ]]; }

finding_file() {
    local program=
    case $1 in
    uml) program=linux.uml ;;
    qemu*) program=qemu-system-x86_64 ;;
    esac
    printf '%s/build/lab/found/%s-%s' "$root" "$1" "$({
        cat /proc/sys/kernel/random/boot_id
        uname -r
        id -u
        echo "${KOI_ENGINE_PRETEND:-} $(command -v cc >/dev/null && echo cc)"
        [ -z "$program" ] || stat -Lc '%n %Y %s' "$(command -v "$program")"
    } 2>/dev/null | cksum | cut -d' ' -f1)"
}

# finding_about ENGINE: "boots", "cannot boot", or nothing.
finding_about() {
    local file
    file=$(finding_file "$1")
    [ -z "$(find "$file" -mmin +60 2>/dev/null)" ] || [ "$(cat "$file")" = boots ] || rm -f "$file"
    cat "$file" 2>/dev/null || true
}

note_finding() {
    local file
    file=$(finding_file "$1")
    mkdir -p "${file%/*}" 2>/dev/null && echo "$2" >"$file" 2>/dev/null || true # a folder we may not write costs a boot, no more
}
