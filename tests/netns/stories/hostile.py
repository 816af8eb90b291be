"""What arrives on the wire and should not: counted by its reason, logged at a limited rate, and without effect."""

import os
import subprocess
import time
from collections import Counter

from adverts import Mouth, advert, vrrp_2
from lab import story
from nodes import (FAST, FAST_BACKUP, VIP, VIP_6, Dark, became_master, group, metric, role, trouble, wait_for_master)
from processes import BUILD

KEEPALIVED = """global_defs {
  router_id lab
  vrrp_version %d
}
vrrp_instance neighbour {
  state MASTER
  interface eth0
  virtual_router_id %d
  priority 150
  advert_int 1
  virtual_ipaddress {
    %s/24
  }
}
"""


def keepalived(lab, version, number):
    router = lab.host(f"vrrp{version}-{number}", number=number + 10 * (version - 2))
    router.vip = f"10.77.0.{100 + router.number}"
    settings = router.new_file("keepalived", ".conf")
    settings.write_text(KEEPALIVED % (version, number, router.vip))
    router.start(["keepalived", "-n", "-l", "-D", "-P", "-f", settings, "-p", router.folder / "pid", "-r", router.folder / "vrrp.pid"])
    return router


def pair_and_stranger(lab):
    stranger = lab.host("stranger", number=66)
    vips = [f"{VIP}/24", f"{VIP_6}/64"]
    left = lab.node("left", number=1, vips=vips, config={"carp": FAST})
    right = lab.node("right", number=2, vips=vips, config={"carp": FAST_BACKUP})
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    stranger.run("ping -c 1 -W 5 10.77.0.1")  # a cable that was plugged in a moment ago loses the first words
    return left, right, stranger


def counts(node):
    return Counter({reason: count for reason, count in group(node)["adverts"]["refused"].items() if count})


@story(needs={"koid"}, timeout=60)
def story_bad_adverts(lab):
    """Packets that are no adverts are counted by reason, logged with a limit, and move nothing."""
    left, right, stranger = pair_and_stranger(lab)
    both = (VIP, VIP_6)
    mouth = Mouth(stranger)
    best = {"advbase": 0, "advskew": 0, "addresses": both}
    over_v4 = {
        "too_short": lambda: mouth.say(advert(**best)[:35]),
        "wrong_version": lambda: mouth.say(advert(**best, first=0x51)),
        "wrong_checksum": lambda: mouth.say(advert(**best, sum_is_wrong=True)),
        "wrong_ttl": lambda: mouth.say(advert(**best), ttl=64),
        "wrong_digest": lambda: mouth.say(advert(**best, password="guessed")),
        "unknown_vhid": lambda: mouth.say(advert(**best, vhid=77)),
        "vrrp": lambda: mouth.say(vrrp_2()),
    }
    over_v6 = {
        "too_short": lambda: mouth.say_v6(b""),
        "wrong_checksum": lambda: mouth.say_v6(advert(**best, sum_is_wrong=True)),
        "wrong_ttl": lambda: mouth.say_v6(advert(**best), hops=64),
        "wrong_digest": lambda: mouth.say_v6(advert(**best, password="guessed")),
    }
    expected = Counter()
    for family, sayings in (("IPv4", over_v4), ("IPv6", over_v6)):
        for n, (reason, say) in enumerate(sayings.items()):
            expected[reason] += 5 + n  # another number each
            for _ in range(5 + n):
                say()
        for node in (left, right):
            lab.wait_until(lambda: counts(node) == expected, 5, f"{node.name} counts, after IPv4 alone or both, {dict(expected)}")
        lab.say(f"over {family}: each reason was counted as often as it was given")
    own = next(one for one in right.addresses("eth0") if one.startswith("fe80:"))
    mouth.say_v6(advert(**best, password="guessed"), source=own)
    lab.wait_until(lambda: counts(right)["own_echo"] == 1, 3, "right counts its own address in somebody else's mouth as own_echo")
    mouth.say(os.urandom(1400))
    mouth.say(b"")

    lab.run_for(1)
    lab.check(metric(left, "koi_adverts_refused_total", vhid="51", reason="wrong_checksum") == counts(left)["wrong_checksum"],
              "/metrics has the same numbers")
    lines = [line for line in left.koid.text().splitlines() if "advert_refused" in line]
    for reason in over_v4:
        told = [line for line in lines if f"reason={reason}" in line]
        lab.check(1 <= len(told) <= 3, f"the log has {len(told)} lines about {reason}: {told[0] if told else ''}")
        lab.check("10.77.0.66" in told[0], "with the address it came from")
    lab.check(trouble(left, "peer_key") is not None, "a wrong digest is also a trouble")
    lab.check((role(left), role(right)) == ("master", "backup"), "left leads, right listens")
    lab.check((became_master(left), became_master(right)) == (1, 0), "and it was never otherwise")


@story(needs={"koid"}, timeout=60)
def story_flood_of_bad_adverts(lab):
    """Ten thousand forged adverts as fast as they can be said: the election does not notice, the log has a few lines."""
    left, right, stranger = pair_and_stranger(lab)
    client = lab.host("client")
    mouth = Mouth(stranger)
    forged = [advert(advbase=0, advskew=0, addresses=(VIP, VIP_6), password="guessed") for _ in range(100)]
    before = len(left.koid.text().splitlines())
    with Dark(client, after=1.5) as dark:
        began = time.monotonic()
        for n in range(10_000):
            mouth.say(forged[n % len(forged)])
        lab.say(f"10,000 forged adverts within {time.monotonic() - began:.2f} s")
    for node in (left, right):
        lab.say(f"{node.name} counted {group(node)['adverts']['refused']['wrong_digest']} of them; "
                "the kernel drops what does not fit into the socket's buffer")
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role changed")
    lab.check(lab.master(VIP) == "left", "left holds the address")
    lab.check_soon(dark.seconds, 0.1, "the client saw nothing")
    lines = left.koid.text().splitlines()[before:]
    lab.check(len([line for line in lines if "advert_refused" in line]) <= 4, f"the log grew by {len(lines)} lines")


@story(needs={"koid", "keepalived"}, timeout=60)
def story_vrrp_neighbour(lab):
    """A keepalived on the same wire, in either version of VRRP: with another number neither disturbs the other; with the
    same number Koi says so, and goes on."""
    left = lab.node("left", number=1, config={"carp": FAST})
    wait_for_master(lab, "left")
    for version in (2, 3):
        routers = [keepalived(lab, version, number) for number in (51, 52)]
        before = counts(left)["vrrp"]
        for router in routers:
            lab.wait_until(lambda: router.holds(router.vip), 10, f"{router.name} leads its own group")
        # It falls silent while it hears CARP with its number, whoever speaks that.
        lab.wait_until(lambda: counts(left)["vrrp"] >= before + 3, 10, "Koi counts its adverts")
        for router in routers:
            lab.check(router.holds(router.vip), f"{router.name} goes on leading its group")
            router.kill_power()
    for number, what in ((51, "which is a vhid of ours"), (52, "which is no vhid of ours")):
        line = next((line for line in left.koid.text().splitlines() if "reason=vrrp" in line and what in line), "")
        lab.check(f"10.77.0.{number}" in line, f"the log says who and what to do: {line}")
    lab.check(role(left) == "master" and became_master(left) == 1, "Koi led all the time")
    lab.check(set(counts(left)) == {"vrrp"}, f"nothing else was refused: {dict(counts(left))}")


@story(needs={"koid"}, timeout=60)
def story_key_file_for_everybody(lab):
    """A key file that others may read is refused at the start, with the command that mends it."""
    left = lab.host("left")
    for folder in ("run", "state"):
        (left.folder / folder).mkdir()
    key, config = left.folder / "carp.key", left.folder / "koi.yaml"
    key.write_text("koi-lab\n")
    config.write_text(f"carp: {{ interface: eth0, key_file: {key} }}\nvips: [ {{ vhid: 51, addresses: [ {VIP}/24 ] }} ]\n")
    for mode in (0o644, 0o640, 0o604):
        key.chmod(mode)
        done = left.run([BUILD / "koid", "-c", config], check=False, timeout=10, environment={
            "RUNTIME_DIRECTORY": str(left.folder / "run"), "STATE_DIRECTORY": str(left.folder / "state")})
        lab.check(done.returncode == 78, f"with mode {mode:o} koid ends with 78")
        lab.check("chmod" in done.stderr and str(key) in done.stderr, f"it says why, and what to do: {done.stderr.splitlines()[0]}")
        lab.check("koi-lab" not in done.stderr, "and does not say the key")
        lab.check(not left.holds(VIP), "it never took the address")


@story(needs={"koid", "ip_vs", "own_clock"}, timeout=90)
def story_clock_is_stepped(lab):
    """An hour forward, two back: the election counts time of its own, and nobody notices."""
    left = lab.node("left", advskew=0)
    right = lab.node("right", advskew=100)
    client = lab.host("client")
    wait_for_master(lab, "left")
    lab.run_for(1)
    with Dark(client, after=1) as dark:
        for hours in (1, -2, 1):
            lab.say(f"the clock is stepped by {hours} h")
            subprocess.run(["date", "-s", f"@{time.time() + 3600 * hours:.0f}"], check=True, capture_output=True)
            lab.run_for(4)
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role changed")
    lab.check(dark.seconds <= 1, f"the client saw nothing ({1000 * dark.seconds:.0f} ms)")
    lab.check(role(left) == "master" and role(right) == "backup", "left leads, right listens")
    left.kill_power()
    took = wait_for_master(lab, "right")
    lab.check(took < 5, f"and right takes over when it should ({took:.2f} s)")
