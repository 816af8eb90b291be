"""The lab proves itself, without Koi: an election by ucarp, and a balanced service by ipvsadm."""

import os
import signal
import time

from lab import story
from processes import Failed

VIP = "10.77.0.100"


@story(needs={"ucarp"}, timeout=60)
def story_lab_elects(lab):
    """Two ucarp nodes elect; when the master's power is cut, the other one takes over."""
    left, right, client = lab.host("left"), lab.host("right"), lab.host("client")
    lab.ucarp(left, VIP, advskew=0)
    lab.wait_until(lambda: lab.master(VIP) == "left", 10, "left alone becomes master")
    lab.ucarp(right, VIP, advskew=50)
    lab.run_for(2)
    lab.check(lab.master(VIP) == "left", "left stays master while right listens")

    watch = client.watch(VIP, proto="ping", every_ms=20)
    lab.run_for(0.5)
    left.kill_power()
    lab.wait_until(lambda: lab.master(VIP) == "right", 10, "right takes over")
    lab.run_for(1)
    watch.end()
    lab.check(watch.answers[VIP] > 20, "the client was answered before and after")
    lab.check(len(watch.darkness) == 1, "it was dark once")
    lab.check(1.5 < watch.longest_dark < 7, "dark for about three adverts, as ucarp is known to be")


@story(needs={"ip_vs", "ipvsadm"}, timeout=60)
def story_lab_itself(lab):
    """A NAT service made by hand with ipvsadm: the client's questions reach both backends."""
    client = lab.host("client", number=1)
    director = lab.host("director", number=10, wires=("front", "back"), forward=True)
    backends = [lab.host(name, number=20 + n, wires="back", gateway=("10.78.0.10", "fd78::a"))
                for n, name in enumerate(("red", "blue"))]
    for backend in backends:
        lab.backend(backend, backend.name, ("tcp", 80), ("udp", 53))

    table = []
    for vip, version in ((VIP, 4), ("fd77::64", 6)):
        director.run(f"ip addr add {vip}/{24 if version == 4 else 64} dev eth0 {'nodad' if version == 6 else ''}")
        for kind, port in (("t", 80), ("u", 53)):
            place = f"[{vip}]:{port}" if version == 6 else f"{vip}:{port}"
            table.append(f"-A -{kind} {place} -s rr")
            for backend in backends:
                real = backend.address("back", version)
                table.append(f"-a -{kind} {place} -r {f'[{real}]' if version == 6 else real}:{port} -m")
    director.run(["ipvsadm", "-R"], stdin="\n".join(table) + "\n")

    for vip in (VIP, "fd77::64"):
        for proto, port in (("tcp", 80), ("udp", 53)):
            answers = client.ask(vip, port, 40, proto)
            lab.check(answers == {"red": 20, "blue": 20}, f"{proto} to {vip} is shared in equal parts: {dict(answers)}")
    line = client.connect(VIP, 80)
    lab.check(line.ask("hello") in ("red hello", "blue hello"), "a long connection is answered")


@story(timeout=30)
def story_two_owners_are_seen(lab):
    """The lab sees how long two hosts answer for one address, whatever the client's cache believes, and when nobody does."""
    left, right, client = lab.host("left"), lab.host("right"), lab.host("client")
    for vip, more in ((VIP, ""), ("fd77::64", " nodad")):
        place = f"{vip}/{64 if more else 24} dev eth0"
        left.run(f"ip addr add {place}{more}")
        owners = client.owners(vip, [left, right])
        lab.run_for(0.3)
        right.run(f"ip addr add {place}{more}")
        lab.run_for(0.4)
        left.run(f"ip addr del {place}")
        lab.run_for(0.3)
        right.run(f"ip addr del {place}")
        lab.run_for(0.2)
        left.run(f"ip addr add {place}{more}")
        lab.run_for(0.1)
        owners.end()
        lab.check(owners.doubly + owners.longest_pause > 0.38, f"{vip}: two answered for {1000 * owners.doubly:.0f} ms")
        lab.check_soon(owners.doubly, 0.98, "and no longer")
        lab.check(owners.longest_dark + owners.longest_pause > 0.19, f"nobody did for {1000 * owners.longest_dark:.0f} ms")
        lab.check_soon(owners.longest_dark, 0.8, "and no longer")
        lab.check([len(owners.intervals[name]) for name in ("left", "right")] == [2, 1], "left answered twice, right once")
        left.run(f"ip addr del {place}")
        owners = client.owners(vip, [left, right])
        lab.run_for(0.1)
        lab.check(owners.end().doubly == 0 and not any(owners.intervals.values()), "and nobody answers when it is nowhere")


@story()
def story_a_slow_machine_is_no_slow_program(lab):
    """What a bare loop missed as well is not held against a program, what it kept is."""
    began = time.monotonic()
    os.kill(lab.bare_loop.pid, signal.SIGSTOP)
    lab.run_for(0.3)
    os.kill(lab.bare_loop.pid, signal.SIGCONT)
    lab.wait_until(lambda: lab.bare_loop.longest(began) > 0.25, 5, "the loop knows that it was late")
    lab.check_soon(0.34, 0.1, "an answer that was late with it", since=began)
    for seconds, since, what in ((10, began, "by more than that"), (0.34, time.monotonic() + 1, "at another time")):
        try:
            lab.check_soon(seconds, 0.1, f"an answer that was late {what}", since=since)
        except Failed:
            continue
        raise AssertionError(f"an answer that was late {what} was let pass")
