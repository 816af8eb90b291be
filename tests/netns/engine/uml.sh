# User Mode Linux: the kernel as a program. Sourced by engine/run.
#
# Traps: it has ip_vs but no nftables for inet, ip and arp; one CPU; a clock tick is 10 ms. Each
# system call is dear, starting a program costs 30 ms. The kernel and the program it runs are two
# processes that take turns, so one CPU for both is twice as fast as two. Its memory is a file that wants a tmpfs.

uml_missing() {
    if ! command -v linux.uml >/dev/null; then
        echo "User Mode Linux is not installed (package user-mode-linux)"
    elif ! command -v busybox >/dev/null; then
        echo "busybox is not installed (package busybox-static)"
    elif ! command -v modprobe >/dev/null; then
        echo "modprobe is not installed (package kmod)"
    elif [ ! -r /proc/self/maps ]; then
        echo "/proc is not mounted (mount -t proc proc /proc)"
    fi
}

# A folder for the guest's memory: the first tmpfs that lets us map code and is large enough.
uml_memory_folder() {
    local folder
    for folder in "${TMPDIR:-}" /dev/shm /run /tmp; do
        [ -n "$folder" ] && [ -w "$folder" ] || continue
        [ "$(stat -f -c %T "$folder")" = tmpfs ] || continue
        [ "$(df -m --output=avail "$folder" | tail -n 1)" -ge 300 ] || continue
        ! grep -qE "^[^ ]+ $folder tmpfs [^ ]*noexec" /proc/mounts || continue
        echo "$folder"
        return
    done
    echo "engine: no tmpfs of 300 MB found (/dev/shm); the guest's memory is a file in /tmp, which is slower" >&2
    echo /tmp
}

# The CPU, of those we may use, that was idle most in the last tenth of a second.
uml_cpu() {
    {
        cat /proc/stat
        sleep 0.1
        echo again
        cat /proc/stat
    } | awk -v allowed="$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)" '
        BEGIN { count = split(allowed, ranges, ",")
                for (i = 1; i <= count; i++) { n = split(ranges[i], ends, "-"); for (c = ends[1]; c <= ends[n]; c++) may["cpu" c] = c } }
        /^again/ { second = 1 }
        /^cpu[0-9]/ && ($1 in may) { if (!second) before[$1] = $5; else if ($5 - before[$1] > best || best == "") { best = $5 - before[$1]; cpu = may[$1] } }
        END { print cpu }'
}

# On a processor with a wide register file User Mode Linux needs wide_registers.c before it; elsewhere that changes nothing.
# Sets uml_preload. Without a compiler the guest is tried as it is.
uml_make_preload() {
    local source=$here/wide_registers.c object=$root/build/lab/wide_registers.so
    uml_preload=()
    if [ ! "$object" -nt "$source" ]; then
        command -v cc >/dev/null && mkdir -p "${object%/*}" && cc -O2 -shared -fPIC -o "$object.$$" "$source" &&
            mv "$object.$$" "$object" || { rm -f "$object.$$"; return 0; }
    fi
    uml_preload=("LD_PRELOAD=$object")
}

uml_command() {
    boot_seconds=60
    uml_make_preload
    local lines=(con=null con0=null,fd:4 ssl=null)
    exec 4>"$job/console"
    if [ "$tty" = yes ]; then
        lines+=(ssl0=fd:0,fd:1)
    else
        lines+=(ssl0=null,fd:1 ssl1=null,fd:2)
    fi
    # Its clients count milliseconds: on a busy machine it goes first.
    local first=()
    [ "$(id -u)" != 0 ] || first=(nice -n -10)
    guest=("${first[@]}" taskset --cpu-list "$(uml_cpu)" env "TMPDIR=$(uml_memory_folder)" "${uml_preload[@]}" linux.uml "mem=${KOI_ENGINE_MEMORY:-1024}M"
        root=/dev/root rootfstype=hostfs rootflags=/ rw "init=$job/init"
        "uml_dir=$job/" umid=guest "${lines[@]}" quiet)
}
