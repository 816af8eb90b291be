# Sourced by the tests: a wire with a client at its other end, a configuration for it, and words about roles.
# shellcheck shell=sh
set -eu

VIP=192.0.2.10 VIP6=2001:db8::10

fail() {
    echo "FAIL: $*" >&2
    systemctl --no-pager status koi >&2 || true
    journalctl --no-pager -q -u koi -n 50 >&2 || true
    exit 1
}

# wait_until SECONDS WHAT COMMAND...
wait_until() {
    tenths=$(($1 * 10)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$tenths" -gt 0 ] || fail "not within its time: $what"
        tenths=$((tenths - 1))
        sleep 0.1
    done
}

client() { ip netns exec koi-client "$@"; }

lay_wire() {
    leave_wire
    ip netns add koi-client
    ip link add koi-wire type veth peer name eth0 netns koi-client
    ip address add 192.0.2.1/24 dev koi-wire
    ip address add 2001:db8::1/64 dev koi-wire nodad
    ip link set koi-wire up
    client ip address add 192.0.2.99/24 dev eth0
    client ip address add 2001:db8::99/64 dev eth0 nodad
    client ip link set eth0 up
}

leave_wire() {
    ip link delete koi-wire 2>/dev/null || true
    ip netns delete koi-client 2>/dev/null || true
}

# The owner of a secret is the user that koid runs as.
configure() {
    owner=$(systemctl show -P User koi)
    printf 'secret\n' >/etc/koi/keys/carp.key
    chown "${owner:-root}" /etc/koi/keys/carp.key
    chmod 0400 /etc/koi/keys/carp.key
    cat >/etc/koi/koi.yaml <<END
carp: { interface: koi-wire, key_file: /etc/koi/keys/carp.key }
vips:
  - { vhid: 51, addresses: [$VIP/24, "$VIP6/64"] }
END
}

leads() { koi show roles -o json | grep -q '"role": "master"'; }
answers() { client ping -q -c 1 -W 1 "$1"; }
roles_told() { journalctl -q -u koi KOI_EVENT=role -o cat | wc -l; }

start() {
    lay_wire
    configure
    systemctl reset-failed koi 2>/dev/null || true
    systemctl start koi || fail "systemctl start koi"
    wait_until 15 "leads" leads
    wait_until 5 "$VIP answers" answers "$VIP"
    wait_until 5 "$VIP6 answers" answers "$VIP6"
}

finish() {
    systemctl stop koi 2>/dev/null || true
    rm -f /etc/koi/koi.yaml /etc/koi/keys/carp.key
    leave_wire
}
trap finish EXIT
