# Which kernel runs what needs ip_vs. Sourced by engine/run.
#
# In this order: the running kernel if it has ip_vs and we are root (nothing is faster), User Mode Linux (boots in two
# seconds), qemu with KVM (the same, and Debian's own kernel), qemu alone (boots in seconds, everything else is slow).
# Each engine answers NAME_missing with a sentence, or with nothing when it can be tried. What then counts is whether a guest
# of it booted; engine/run writes that down (findings.sh), so that only the first command after a start of this machine tries.

engines=(native uml qemu-kvm qemu)

# engine_function ENGINE WHAT: `qemu-kvm` is `qemu` with one option more.
engine_function() { echo "${1%-kvm}_$2"; }

engine_missing() {
    local missing
    if pretends "${1%-kvm}-cannot-boot" && [ "$1" = native ]; then
        echo "KOI_ENGINE_PRETEND plays a kernel without ip_vs"
        return
    fi
    if [ "$1" = qemu-kvm ] && [ ! -w /dev/kvm ]; then
        echo "there is no /dev/kvm that we may use"
        return
    fi
    missing=$("$(engine_function "$1" missing)")
    [ -z "$missing" ] || { echo "$missing"; return; }
    [ "$(finding_about "$1")" != "cannot boot" ] || echo "its guest did not start"
}

# choose_engine WANTED TRIED: sets engine and reason, or says what is missing and exits 125.
choose_engine() {
    local wanted=$1 tried=$2 name missing complaints=
    case $wanted in
    '') ;;
    native | uml | qemu)
        missing=$("${wanted}_missing")
        [ -z "$missing" ] || { echo "engine: $wanted was asked for, but $missing" >&2; exit 125; }
        engine=$wanted
        reason="asked for by name"
        if [ "$wanted" = qemu ] && [[ " $tried " != *" qemu-kvm "* ]] && [ -z "$(engine_missing qemu-kvm)" ]; then
            engine=qemu-kvm
        fi
        return ;;
    *)
        echo "engine: there is no engine called '$wanted'; there are native, uml and qemu" >&2
        exit 125 ;;
    esac
    for name in "${engines[@]}"; do
        case " $tried " in *" $name "*) complaints+="  $name: its guest did not start"$'\n'; continue ;; esac
        missing=$(engine_missing "$name")
        if [ -z "$missing" ]; then
            engine=$name
            case $name in
            native) reason="the running kernel has ip_vs" ;;
            *) reason=$(printf '%s' "$complaints" | sed 's/^ *//' | paste -sd ';' | sed 's/;/; /g') ;;
            esac
            return
        fi
        complaints+="  $name: $missing"$'\n'
    done
    printf 'engine: nothing here can run ip_vs:\n%s' "$complaints" >&2
    echo "engine: remedy: 'sudo ./dev deps lab qemu' installs User Mode Linux and qemu; or a kernel with ip_vs, as Debian's is" >&2
    exit 125
}
