"""Connections find backends: every forwarding method, both families, TCP and UDP, through a file that changes."""

import nodes
from lab import story
from scene import PORT, VIP4, VIP6, Scene, witness

NEEDS = {"ip_vs", "koid", "ipvsadm"}
TCP, UDP = ("tcp4", "tcp6"), ("udp4", "udp6")


# ---- One file, three ways to forward -------------------------------------------------------------------------------------


@story(needs=NEEDS, timeout=90)
def story_nat_follows_the_file(lab):
    "NAT: shares follow the weights, a removed backend finishes its connections, changes disturb nobody."
    follow_the_file(lab, "nat")


@story(needs=NEEDS, timeout=90)
def story_dr_follows_the_file(lab):
    "Direct routing: shares follow the weights, a removed backend finishes its connections, changes disturb nobody."
    follow_the_file(lab, "dr")


@story(needs=NEEDS, timeout=90)
def story_tun_follows_the_file(lab):
    "Tunnels: shares follow the weights, a removed backend finishes its connections, changes disturb nobody."
    follow_the_file(lab, "tun")


def follow_the_file(lab, forward):
    # One datagram, one decision; with NAT the answer needs the connection that this leaves out.
    one_packet = {"udp4": {"one_packet": True}} if forward != "nat" else {}
    scene = Scene(lab, forward, services=one_packet)
    scene.list(red=3, green=1)
    scene.start()
    scene.wait_for_weights({"red": 3, "green": 1})
    for place in scene.places:
        shares_are(scene, place, 400, red=3, green=1)

    lines = {place: {name: scene.line(place, name) for name in ("red", "green")} for place in TCP}
    disturbed = {place: scene.client.watch(*scene.places[place][:2], every_ms=20) for place in TCP}
    remove_green(scene, lines)

    scene.list(red=1, green=3)
    scene.wait_for_weights({"red": 1, "green": 3})
    lab.say("green is back, and the weights are the other way round")
    scene.list(red=1, green=3, blue=4)
    scene.wait_for_weights({"red": 1, "green": 3, "blue": 4})
    for place, watch in disturbed.items():
        watch.end()
        lab.check(watch.failures == 0, f"{place}: no request was lost while the file changed three times")
    for place in scene.places:
        shares_are(scene, place, 160, red=1, green=3, blue=4)
    for place in TCP:
        answer = lines[place]["red"].ask("still there?")
        lab.check(answer == "red still there?", f"{place}: the first connection to red is still the same one: {answer}")


def remove_green(scene, lines):
    """The middle of the story: green is gone from the file, but somebody talks with it."""
    lab = scene.lab
    scene.list(red=3)
    took = scene.wait_for_weights({"red": 3, "green": 0}, TCP)
    lab.say(f"green takes no new TCP connection after {took * 1000:.0f} ms")
    scene.wait_for_weights({"red": 3}, UDP)
    lab.say("green has left the UDP services: a datagram has no connection to finish")
    for place in scene.places:
        answers = scene.ask(place, 40)
        lab.check(answers == {"red": 40}, f"{place}: no new question goes to green: {dict(answers)}")
    for place in TCP:
        for name, line in lines[place].items():
            answer = line.ask("still there?")
            lab.check(answer == f"{name} still there?", f"{place}: the old connection to {name} goes on: {answer}")
    table, shown = scene.witness(), scene.shown()
    for place in TCP:
        row = table[scene.key(place)]["green"]
        lab.check(row.weight == 0 and row.active >= 1, f"{place}: ipvsadm sees green draining with a connection: {row}")
    lab.check(weights_of(shown) == weights_of(table), f"koi shows what ipvsadm shows: {weights_of(shown)}")

    lab.run_for(3)  # longer than the beat on which idle backends are looked for
    lab.check(scene.weights("tcp4") == {"red": 3, "green": 0}, "green stays while its connection lasts")
    for place in TCP:
        lines[place].pop("green").close()
    took = scene.wait_for_weights({"red": 3}, TCP, timeout=15)
    lab.say(f"green left the table {took:.1f} s after its last connection ended")
    lab.check(weights_of(scene.shown()) == weights_of(scene.witness()), "koi shows what ipvsadm shows")


def weights_of(table):
    return {service: {name: row.weight for name, row in rows.items()} for service, rows in table.items()}


def shares_are(scene, place, times, **weights):
    """Asks so often and compares the shares with the weights, to two in a hundred."""
    answers = scene.ask(place, times)
    total = sum(weights.values())
    shares = ", ".join(f"{name} {answers[name] / times:.1%} of {weight}/{total}" for name, weight in weights.items())
    right = set(answers) == set(weights) and all(abs(answers[name] / times - weight / total) <= 0.02
                                                 for name, weight in weights.items())
    scene.lab.check(right, f"{place}, {scene.forward}: {shares}" if right else f"{place}: shares as weighted: {dict(answers)}")


# ---- A pair ---------------------------------------------------------------------------------------------------------------


@story(needs=NEEDS, timeout=90)
def story_nat_pair_takes_its_gateway_along(lab):
    "NAT needs the way back, too: the backends' gateway is a second VIP, and both move when the master's power is cut."
    gateways = ("10.78.0.99", "fd78::63")
    scene = Scene(lab, "nat", only=("tcp4", "tcp6"), directors=("left", "right"), names=("red", "green"), gateways=gateways)
    scene.told["vips"].append({"vhid": 52, "interface": "eth1", "addresses": [gateways[0] + "/24", gateways[1] + "/64"]})
    left, right = scene.directors
    scene.list(red=1, green=1)
    scene.told["carp"]["advskew"] = 10
    scene.start(left)
    scene.told["carp"]["advskew"] = 20
    scene.prepare(right)
    lab.koid(right, scene.told).wait_ready()
    lab.wait_until(lambda: scene.ask("tcp4", 2) == {"red": 1, "green": 1}, 10, "both backends answer")
    lab.check(lab.master(VIP4) == "left" == lab.master(gateways[0]), "left holds the VIP and the gateway")

    watches = [scene.client.watch(vip, PORT, every_ms=20) for vip in (VIP4, VIP6)]
    lab.run_for(0.5)
    left.kill_power()
    lab.wait_until(lambda: lab.master(VIP4) == "right" == lab.master(gateways[0]), 5, "right holds both")
    lab.run_for(1)
    for watch in watches:
        watch.end()
        lab.check(watch.seen[-1][2] is not None, "answers come again")
        lab.say(f"dark for {watch.longest_dark * 1000:.0f} ms; patience is {3 * 20 / 256 * 1000:.0f} ms")
    lab.check(scene.weights("tcp4", right) == {"red": 1, "green": 1}, "right has the table")


@story(needs=NEEDS, timeout=60)
def story_a_newcomer_knows_its_backends_first(lab):
    "A better node that never ran before takes over only when it knows whom to serve: nobody is refused."
    scene = Scene(lab, "dr", only=("tcp4", "tcp6"), names=("red", "green"), directors=("left", "right"))
    left, right = scene.directors
    scene.list(red=1, green=1)
    scene.told["carp"]["advskew"] = 80
    scene.start(right)
    scene.wait_for_weights({"red": 1, "green": 1}, director=right)
    watch = scene.client.watch(VIP4, PORT, every_ms=5)
    scene.told["carp"]["advskew"] = 40
    scene.start(left)
    lab.run_for(0.5)
    watch.end()
    lab.check(lab.master(VIP4) == "left", "left took over")
    lab.say(f"dark for {watch.longest_dark * 1000:.0f} ms")
    lab.check(not watch.reasons["refused"], f"nobody was refused while left took over: {dict(watch.reasons)}")


# ---- Marks, SCTP, and what a service can be told ------------------------------------------------------------------------


@story(needs=NEEDS | {"tc"}, timeout=60)
def story_a_firewall_mark_joins_ports(lab):
    "A service for a firewall mark: two ports are one service, and persistence holds across them."
    ports = (8000, 8001)
    scene = Scene(lab, "dr", only=(), names=("red", "green"), ports=ports, more={
        "services": [{"name": "marked", "fwmark": 7, "family": "ipv4", "pool": "v4", "forward": "dr", "scheduler": "rr"}]})
    scene.list(red=1, green=1)
    scene.start()
    marking = scene.director.run("tc qdisc add dev eth0 ingress && tc filter add dev eth0 parent ffff: protocol ip u32 "
                                 "match ip dport 8000 0xfffe action skbedit mark 7", check=False)
    if marking.returncode:
        return lab.say("not told further: nothing here can set a mark: " + marking.stderr.strip())
    lab.wait_until(lambda: len(witness(scene.director).get("fwmark 7 ipv4", {})) == 2, 5, "the marked service has backends")
    for port in ports:
        answers = scene.client.ask(VIP4, port, 40)
        lab.check(answers == {"red": 20, "green": 20}, f"port {port} is shared in equal parts: {dict(answers)}")
    scene.told["services"][0]["persistence"] = "60s"
    scene.koid.write_config(scene.told)
    scene.koid.koi("reload")
    first = scene.client.ask(VIP4, 8000, 1)
    both = first + scene.client.ask(VIP4, 8000, 10) + scene.client.ask(VIP4, 8001, 10)
    lab.check(len(both) == 1, f"with persistence both ports go to the same backend: {dict(both)}")


@story(needs=NEEDS, timeout=60)
def story_sctp_through_nat(lab):
    "SCTP through NAT: associations are shared by weight."
    scene = Scene(lab, "nat", only=(), names=("red", "green"), more={
        "services": [{"name": "s", "at": f"{VIP4}:{PORT}/sctp", "pool": "v4", "forward": "nat", "scheduler": "wrr"}]})
    scene.places["s"] = (VIP4, PORT, "sctp")
    for name, host in scene.backends.items():
        try:
            lab.backend(host, name, f"sctp:{host.address('back')}:{PORT}")
        except Exception:
            return lab.say("not told further: this kernel has no SCTP (modprobe sctp)")
    scene.list(red=3, green=1)
    scene.start()
    scene.wait_for_weights({"red": 3, "green": 1}, ("s",))
    shares_are(scene, "s", 80, red=3, green=1)


@story(needs=NEEDS, timeout=60)
def story_persistence_keeps_a_client(lab):
    "With persistence a client stays with its backend, another client may get the other one; koi says it."
    scene = Scene(lab, "dr", only=("tcp4", "tcp6"), names=("red", "green"), service={"persistence": "60s"})
    other = lab.host("other", number=2)
    scene.list(red=1, green=1)
    scene.start()
    scene.wait_for_weights({"red": 1, "green": 1})
    for place in scene.places:
        mine, others = scene.ask(place, 20), scene.ask(place, 20, client=other)
        lab.check(len(mine) == len(others) == 1 and mine != others,
                  f"{place}: one client, one backend: {dict(mine)} and {dict(others)}")
    text = scene.koid.koi("show", "services").stdout
    lab.check("persistence 60 s" in text, "koi show services says how long")
    persistent = [backend["persistent_connections"] for one in nodes.status(scene.director, "services")["services"]
                  for backend in one["backends"]]
    lab.check(all(persistent), f"every backend has somebody who will come back: {persistent}")


@story(needs=NEEDS, timeout=60)
def story_a_sorry_server_serves_alone(lab):
    "While no backend has weight, the sorry server answers; when one is back, it is gone again."
    scene = Scene(lab, "nat", only=("tcp4",), names=("red", "sorry"), pool={"guard": {"hold_empty": "0s"}, "drain": "0s"})
    scene.told["services"][0]["sorry_server"] = scene.real("sorry")
    scene.list(red=1)
    scene.start()
    scene.wait_for_weights({"red": 1})
    for how, weights in (("its weight is 0", {"red": 0}), ("the file says that there is nobody", {})):
        scene.list(**weights)
        scene.wait_for_weights({**weights, "sorry": 1})
        answers = scene.ask("tcp4", 10)
        lab.check(answers == {"sorry": 10}, f"{how}: the sorry server answers alone: {dict(answers)}")
        lab.check("sorry server" in scene.koid.koi("show", "services").stdout, "koi show services calls it so")
        scene.list(red=1)
        scene.wait_for_weights({"red": 1})
        answers = scene.ask("tcp4", 10)
        lab.check(answers == {"red": 10}, f"red is back and answers alone: {dict(answers)}")


@story(needs=NEEDS, timeout=60)
def story_mh_falls_back(lab):
    "Maglev with ports: clients spread, a draining backend's share goes to the others; without the flag it is refused."
    scene = Scene(lab, "dr", only=("tcp4", "tcp6"), names=("red", "green"),
                  service={"scheduler": "mh", "scheduler_flags": ["mh-port", "mh-fallback"]},
                  services={"tcp4": {"scheduler_flags": ["mh-port"]}})
    scene.list(red=1, green=1)
    scene.start()
    scene.wait_for_weights({"red": 1, "green": 1})
    told = scene.director.run("ipvsadm -Ln").stdout
    lab.check("mh (mh-fallback,mh-port)" in told and "mh (mh-port)" in told, "ipvsadm sees the scheduler and its flags")
    for place in scene.places:
        answers = scene.ask(place, 100)
        lab.check(min(answers["red"], answers["green"]) >= 15 and len(answers) == 2, f"{place}: both serve: {dict(answers)}")
    scene.director.sysctl("net.ipv4.icmp_ratelimit", 0)  # or there would be one refusal a second
    scene.list(red=1, green=0)
    scene.wait_for_weights({"red": 1, "green": 0})
    answers = scene.ask("tcp6", 60)
    lab.check(answers == {"red": 60}, f"with mh-fallback red takes green's share: {dict(answers)}")
    answers = scene.ask("tcp4", 60)
    lab.check(answers["(refused)"] > 0 and "green" not in answers, f"without it that share is refused: {dict(answers)}")


@story(needs=NEEDS, timeout=60)
def story_thresholds_reach_the_table(lab):
    "Connection limits stand in the kernel's table, and a backend that is full gets no more."
    scene = Scene(lab, "nat", only=("tcp4",), names=("red", "green"), service={"upper_threshold": 4, "lower_threshold": 2})
    scene.list(red=1, green=1)
    scene.start()
    scene.wait_for_weights({"red": 1, "green": 1})
    told = [line.split() for line in scene.director.run("ipvsadm -Ln --thresholds").stdout.splitlines() if "->" in line]
    limits = {words[1]: words[2:4] for words in told if words[1] != "RemoteAddress:Port"}
    lab.check(limits == {scene.real(name): ["4", "2"] for name in ("red", "green")}, f"ipvsadm sees the limits: {limits}")
    lines = [scene.client.connect(VIP4, PORT) for _ in range(8)]
    answers = [line.ask("hello") for line in lines]
    lab.check(sorted(answers) == ["green hello"] * 4 + ["red hello"] * 4, "each took four")
    refused = scene.ask("tcp4", 3)
    lab.check(refused == {"(refused)": 3}, f"the ninth connection is refused: {dict(refused)}")
