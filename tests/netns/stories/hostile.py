"""What arrives on the wire and should not: counted by its reason, logged at a limited rate, and without effect."""

import os
import subprocess
import time

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
  virtual_router_id 51
  priority 150
  advert_int 1
  virtual_ipaddress {
    10.77.0.200/24
  }
}
"""


def pair_and_stranger(lab):
    vips = [f"{VIP}/24", f"{VIP_6}/64"]
    left = lab.node("left", number=1, vips=vips, config={"carp": FAST})
    right = lab.node("right", number=2, vips=vips, config={"carp": FAST_BACKUP})
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    return left, right, lab.host("stranger", number=66)


@story(needs={"koid"}, timeout=60)
def story_bad_adverts(lab):
    """Packets that are no adverts are counted by reason, logged with a limit, and move nothing."""
    left, right, stranger = pair_and_stranger(lab)
    both = (VIP, VIP_6)
    mouth = Mouth(stranger)
    best = {"advbase": 0, "advskew": 0, "addresses": both}
    sayings = {
        "too_short": lambda: mouth.say(advert(**best)[:35]),
        "wrong_version": lambda: mouth.say(advert(**best, first=0x51)),
        "wrong_checksum": lambda: mouth.say(advert(**best, sum_is_wrong=True)),
        "wrong_ttl": lambda: mouth.say(advert(**best), ttl=64),
        "wrong_digest": lambda: mouth.say(advert(**best, password="guessed")),
        "unknown_vhid": lambda: mouth.say(advert(**best, vhid=77)),
        "vrrp": lambda: mouth.say(vrrp_2()),
    }
    over_v6 = {"wrong_digest": lambda: mouth.say_v6(advert(**best, password="guessed")),
               "wrong_ttl": lambda: mouth.say_v6(advert(**best), hops=64),
               "too_short": lambda: mouth.say_v6(b""),
               "wrong_checksum": lambda: mouth.say_v6(advert(**best, sum_is_wrong=True))}

    def counts(node):
        return group(node)["adverts"]["refused"]
    for family, several in (("IPv4", sayings), ("IPv6", over_v6)):
        for reason, say in several.items():
            before = counts(left), counts(right)
            for _ in range(7):
                say()
            for node, old in zip((left, right), before):
                lab.wait_until(lambda: counts(node)[reason] == old[reason] + 7, 3, f"{node.name} counts 7 of {reason} over {family}")
                others = {key: value for key, value in counts(node).items() if key != reason}
                lab.check(all(old[key] == value for key, value in others.items()), "and nothing else")
    before = counts(right)["own_echo"]
    mouth.say(advert(**best), source=right.address())
    lab.wait_until(lambda: counts(right)["own_echo"] > before, 3, "right counts its own address in somebody else's mouth as own_echo")
    mouth.say(os.urandom(1400))
    mouth.say(b"")

    lab.run_for(1)
    lab.check(metric(left, "koi_adverts_refused_total", vhid="51", reason="wrong_digest") == counts(left)["wrong_digest"],
              "/metrics has the same numbers")
    lines = [line for line in left.koid.text().splitlines() if "advert_refused" in line]
    for reason in sayings:
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
    lab.check(dark.seconds <= 0.1, f"the client saw nothing ({1000 * dark.seconds:.0f} ms)")
    lines = left.koid.text().splitlines()[before:]
    lab.check(len([line for line in lines if "advert_refused" in line]) <= 4, f"the log grew by {len(lines)} lines")


@story(needs={"koid", "keepalived"}, timeout=60)
def story_vrrp_neighbour(lab):
    """A keepalived on the same wire with the same number, in either version of VRRP: both elections go on undisturbed."""
    left = lab.node("left", number=1, config={"carp": FAST})
    router = lab.host("router", number=5)
    wait_for_master(lab, "left")
    for version in (2, 3):
        settings = router.new_file("keepalived", ".conf")
        settings.write_text(KEEPALIVED % version)
        before = group(left)["adverts"]["refused"]["vrrp"]
        place = router.folder / f"version-{version}"
        program = router.start(["keepalived", "-n", "-l", "-D", "-P", "-f", settings, "-p", f"{place}.pid", "-r", f"{place}-vrrp.pid"])
        lab.wait_until(lambda: router.holds("10.77.0.200"), 10, f"keepalived leads its own group (VRRPv{version})")
        lab.wait_until(lambda: group(left)["adverts"]["refused"]["vrrp"] >= before + 2, 10, "Koi counts its adverts as vrrp")
        lab.check(role(left) == "master" and became_master(left) == 1, "Koi goes on leading")
        lab.check(router.holds("10.77.0.200"), "so does keepalived")
        program.stop()
    refused = {key: value for key, value in group(left)["adverts"]["refused"].items() if value}
    lab.check(set(refused) == {"vrrp"}, f"nothing else was refused: {refused}")
    line = next(line for line in left.koid.text().splitlines() if "reason=vrrp" in line)
    lab.check("VRRP" in line and "10.77.0.5" in line and "vhid" in line, f"the log says who, and what to do: {line}")


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
