"""Two containers on two machines."""

from lab import story
from podman import configure, left_behind

VIP = "10.77.0.100"


@story(timeout=120)
def story_a_pair_hands_over_without_losing_a_request(lab):
    """Two containers on two machines: `podman stop` of the master hands over, and no request of a client is lost."""
    signed = {"auth": "require", "auth_keys": {"1": "/etc/koi/auth.key"}, "advbase": 1}
    left, right, client = lab.host("left"), lab.host("right"), lab.host("client")
    for host, skew in ((left, 0), (right, 100)):
        configure(host, advskew=skew, **signed)
        lab.backend(host, host.name, ("tcp", 80), f"tcp:0.0.0.0:8080")
    master = lab.podman.start(left, "koi-left")
    master.wait_until_it_leads(VIP)
    standby = lab.podman.start(right, "koi-right")
    lab.wait_until(lambda: standby.role() == "backup", 15, "right stands by")
    lab.wait_until(lambda: "stands by" in master.exec("koi", "show", "peers").stdout, 15, "left knows that right stands by")

    watch = client.watch(VIP, port=8080, proto="tcp", every_ms=5, timeout_ms=1500)
    lab.run_for(0.5)
    lab.check(master.stop() == 0, "left stops")
    lab.wait_until(lambda: lab.master(VIP) == "right", 5, "right holds the address")
    lab.run_for(0.5)
    watch.end()
    lab.check(watch.answers["left"] > 20 and watch.answers["right"] > 20, f"both answered: {dict(watch.answers)}")
    # One that was asked of left and is to be answered by right is no connection of right's: its end is no loss of Koi's.
    switch = next(when for when, name, word, what in lab.address_changes if (name, word, what) == ("right", "+", VIP))
    lost = [sent for sent, ended, answer in watch.seen if answer is None and not sent - 0.02 < switch < ended + 0.02]
    lab.check(not lost, f"of {watch.probes} requests {len(lost)} were lost, {watch.failures} with those across: {dict(watch.reasons)}")
    lab.check(left_behind(left, VIP) == [], "nothing stays on the left")
