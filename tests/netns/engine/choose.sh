# Which kernel runs what needs ip_vs. Sourced by engine/run and by ./dev.
#
# In this order: the running kernel if it has ip_vs and we are root (nothing is faster), User Mode
# Linux (boots in two seconds), qemu without hardware help (boots in seconds, everything else is slow).
# Each engine answers NAME_missing with a sentence, or with nothing when it can work.

# choose_engine WANTED TRIED: sets `engine` and `reason`, or says what is missing and exits 125.
choose_engine() {
    local wanted=$1 tried=$2 name missing complaints=
    case $wanted in
    '') ;;
    native | uml | qemu)
        missing=$("${wanted}_missing")
        [ -z "$missing" ] || { echo "engine: $wanted was asked for, but $missing" >&2; exit 125; }
        engine=$wanted
        reason="asked for by name"
        return ;;
    *)
        echo "engine: there is no engine called '$wanted'; there are native, uml and qemu" >&2
        exit 125 ;;
    esac
    for name in native uml qemu; do
        case " $tried " in *" $name "*) complaints+="  $name: tried, and its guest did not start"$'\n'; continue ;; esac
        missing=$("${name}_missing")
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
    echo "engine: 'sudo ./dev deps' installs User Mode Linux, 'sudo ./dev deps qemu' installs qemu" >&2
    exit 125
}
