"""The tables under attack: somebody else's hands, killed processes, broken files. What serves goes on serving."""

import json
import os
import re
import time
from pathlib import Path

import nodes
from lab import story
from scene import PORT, VIP4, VIP6, Scene, witness

NEEDS = {"ip_vs", "koid", "ipvsadm"}
BOTH = {"red": 1, "green": 1}
REPAIR_WITHIN = 10  # seconds; a promise


def saved(host):
    """The table as ipvsadm writes it for ipvsadm to read, without counters."""
    return host.run(["ipvsadm", "-Sn"]).stdout


def connections(host):
    """Connections counted since each service and backend was made: {"10.77.0.100:80/tcp": 12, …}."""
    counted, service = {}, ""
    for line in host.run(["ipvsadm", "-Ln", "--stats", "--exact"]).stdout.splitlines():
        words = line.split()
        if len(words) > 2 and words[2].isdigit():
            if words[0] != "->":
                service = f"{words[1]}/{words[0].lower()}"
            counted[(service, words[1])] = int(words[2])
    return counted


def nothing_lost(lab, watch, while_what):
    watch.end()
    lab.check(watch.failures == 0 and watch.probes > 10, f"none of {watch.probes} requests was lost while {while_what}")


# ---- Somebody else's hands ------------------------------------------------------------------------------------------------


@story(needs=NEEDS, timeout=90)
def story_a_flushed_table_is_repaired(lab):
    "Somebody says ipvsadm -C, or changes one thing: put right within 10 s, and koi events tells of it."
    scene = Scene(lab, "nat", only=("tcp4", "udp6"), names=("red", "green"))
    scene.list(**BOTH)
    scene.start()
    scene.wait_for_weights(BOTH)
    director, before = scene.director, saved(scene.director)
    for what, command in (("flushed everything", "ipvsadm -C"),
                          ("took a backend", f"ipvsadm -d -t {VIP4}:{PORT} -r {scene.real('red')}"),
                          ("changed a weight and a scheduler", f"ipvsadm -e -t {VIP4}:{PORT} -r {scene.real('red')} -m -w 77; "
                                                               f"ipvsadm -E -u [{VIP6}]:{PORT} -s lc")):
        last = max((event["number"] for event in scene.events()), default=0)
        director.run(command)
        lab.say(f"somebody {what}: {command}")
        lab.check(saved(director) != before, "the table is not what it was")
        took = lab.wait_until(lambda: saved(director) == before, REPAIR_WITHIN, "the table is as it was", every=0.1)
        event = scene.wait_for_event(("somebody else changed our virtual servers",), after=last)
        lab.check(event["event"] == "repair", f"repaired after {took:.1f} s, and told as a repair")
        answers = scene.ask("tcp4", 10)
        lab.check(answers == {"red": 5, "green": 5}, f"both backends answer again: {dict(answers)}")
    lab.check(nodes.status(director)["ipvs_repairs"] >= 3, "koi status counts the repairs")


@story(needs=NEEDS, timeout=60)
def story_a_foreign_virtual_server_is_left_alone(lab):
    "A virtual server that somebody else made is shown as foreign and outlives everything Koi does, its end included."
    scene = Scene(lab, "nat", only=("tcp4",), names=("red", "green"))
    director = scene.director
    foreign = "10.77.0.10:8080/tcp"
    director.run(f"ipvsadm -A -t 10.77.0.10:8080 -s lc -p 120 && ipvsadm -a -t 10.77.0.10:8080 -r {scene.real('red')} -m -w 9")
    theirs = [line for line in saved(director).splitlines() if ":8080" in line]
    answered = scene.client.ask(director.address(), 8080, 5)
    lab.check(answered == {"red": 5}, "the foreign service serves before koid starts")

    def untouched(when):
        now = [line for line in saved(director).splitlines() if ":8080" in line]
        lab.check(now == theirs, f"untouched {when}: {' · '.join(now)}")
        lab.check(connections(director)[(foreign, "10.77.0.10:8080")] >= 5, f"its counters were not reset {when}")
    lab.run_for(2)  # until the kernel has added up what it counted
    scene.list(**BOTH)
    scene.start()
    scene.wait_for_weights(BOTH)
    untouched("after the start")
    text = scene.koid.koi("status").stdout
    lab.check("10.77.0.10:8080/tcp" in text and "foreign" in text, "koi status shows it and calls it foreign")
    shown = {one["at"]: one for one in nodes.status(director, "services")["services"]}[foreign]
    lab.check(shown["foreign"] and not shown["desired"], "and so does its JSON")
    scene.list(red=2)
    scene.wait_for_weights({"red": 2})
    director.run(f"ipvsadm -D -t {VIP4}:{PORT}")
    scene.wait_for_weights({"red": 2}, timeout=REPAIR_WITHIN)
    untouched("after a change and a repair")
    lab.check(scene.koid.stop() == 0, "koid ended cleanly")
    lab.check(not director.holds(VIP4) and not director.holds(VIP6), "the VIPs are gone")
    lab.check(list(witness(director)) == [foreign], "so are Koi's virtual servers, and nothing else")
    untouched("after the end")


# ---- Killed processes -----------------------------------------------------------------------------------------------------


def pair(lab, advbase, skews, **more):
    """left leads, right stands by; left's table is complete."""
    scene = Scene(lab, "dr", only=("tcp4", "tcp6"), names=("red", "green"), directors=("left", "right"), **more)
    scene.list(**BOTH)
    left, right = scene.directors
    scene.told["carp"].update(advbase=advbase, advskew=skews[0])
    scene.start(left)
    scene.told["carp"].update(advskew=skews[1])
    scene.prepare(right)
    lab.koid(right, scene.told).wait_ready()
    scene.wait_for_weights(BOTH)
    return scene, left, right


def role_of(director):
    role = nodes.group(director)
    return role["role"], role["became_master"]


def sentences(director, what):
    """What koid's troubles of one kind say."""
    return [one["sentence"] for one in nodes.status(director, "troubles")["troubles"] if one["what"] == what]


class Undisturbed:
    """What must not change while something dies: lines, traffic, tables, counters, addresses."""

    def __init__(self, scene, director):
        self.scene, self.lab, self.director = scene, scene.lab, director
        self.lines = {name: scene.line("tcp4", name) for name in BOTH}
        scene.ask("tcp4", 20)
        self.lab.run_for(2.5)  # until the kernel has added up what it counted
        self.table, self.counted = saved(director), connections(director)
        self.seen = len(self.lab.address_changes)
        self.watch = scene.client.watch(VIP4, PORT, every_ms=10)
        self.lab.run_for(0.3)

    def check(self, while_what):
        lab = self.lab
        nothing_lost(lab, self.watch, while_what)
        lab.check(saved(self.director) == self.table, "the table is the same")
        now = connections(self.director)
        lab.check(all(now.get(key, -1) >= count for key, count in self.counted.items()) and any(self.counted.values()),
                  "nothing in it was made anew: its counters went on")
        moved = [change for change in self.lab.address_changes[self.seen:] if change[3] in (VIP4, VIP6)]
        lab.check(not moved, "no VIP moved, came or went")
        for name, line in self.lines.items():
            answer = line.ask("still there?")
            lab.check(answer == f"{name} still there?", f"the old connection to {name} goes on: {answer}")


@story(needs=NEEDS, timeout=60)
def story_a_killed_worker_is_not_noticed(lab):
    "kill -9 for the worker: no request lost, no role changed, the table untouched; the new worker adopts it and works."
    scene, left, right = pair(lab, 0, (20, 40))
    before = role_of(left)
    undisturbed = Undisturbed(scene, left)
    worker = nodes.process_of(left, "worker")
    nodes.end_outright(worker)
    lab.say("the worker was killed")
    took = lab.wait_until(lambda: nodes.process_of(left, "worker") not in (None, worker) and nodes.status(left), 10,
                          "another worker answers koi")
    lab.say(f"koi is answered by another worker {took:.2f} s later")
    lab.run_for(1)
    undisturbed.check("the worker died and another one began")
    lab.check(role_of(left) == before, f"no role changed: {before}")
    lab.check(nodes.status(left)["speaker"]["worker_restarts"] == 1, "koi status counts one restart")
    scene.list(red=5, green=1)
    scene.wait_for_weights({"red": 5, "green": 1})
    lab.say("the new worker follows the file")


@story(needs=NEEDS, timeout=60)
def story_koid_killed_resumes(lab):
    "kill -9 for all of koid, started again before the peer loses patience: same role, same table, no connection lost."
    scene, left, right = pair(lab, 2, (0, 100))  # 6 s of patience: a busy machine needs some to start koid
    undisturbed = Undisturbed(scene, left)
    left.koid.kill()
    lab.run_for(0.3)
    lab.check(left.holds(VIP4) and saved(left) == undisturbed.table, "address and table stand without koid")
    again = lab.koid(left, scene.told | {"carp": {**scene.told["carp"], "advskew": 0}})
    again.wait_ready()
    lab.run_for(8)  # longer than the peer waits
    undisturbed.check("koid was killed and started again")
    lab.check(role_of(left)[0] == "master" and role_of(right) == ("backup", 0), "left leads as before, right never did")
    scene.list(red=5, green=1)
    scene.wait_for_weights({"red": 5, "green": 1})
    lab.say("the new koid follows the file")


DRAIN = 20  # seconds


@story(needs=NEEDS, timeout=120)
def story_a_drain_outlives_the_worker(lab):
    "A removed backend keeps its connections when the worker is killed and when koi upgrade replaces it, and goes in time."
    scene = Scene(lab, "nat", only=("tcp4", "tcp6"), names=("red", "green", "blue"), pool={"drain": f"{DRAIN}s"},
                  carp={"advbase": 1})  # patience: programs start slowly in a guest
    director = scene.director
    scene.list(red=1, green=1, blue=0)
    scene.start()
    scene.wait_for_weights({"red": 1, "green": 1, "blue": 0})
    lines = {place: scene.line(place, "green") for place in scene.places}
    scene.list(red=1, blue=0)
    drains = {"red": 1, "green": 0, "blue": 0}
    scene.wait_for_weights(drains)

    def goes_on(after):
        lab.run_for(3)  # longer than the beat on which idle backends are looked for
        table = scene.witness()
        for place, line in lines.items():
            answer = line.ask("still there?")
            lab.check(answer == "green still there?", f"{place}: after {after} the connection to green goes on: {answer}")
            lab.check(scene.weights(place, table=table) == drains, f"{place}: green is kept at weight 0")
        shown = {name for one in nodes.status(director, "services")["services"] for name in
                 (b["backend"] for b in one["backends"] if b["draining"])}
        lab.check(shown == {scene.real("green"), scene.real("green", 6)}, f"koi says that green drains, and nobody else: {shown}")

    worker = nodes.process_of(director, "worker")
    nodes.end_outright(worker)
    lab.say("the worker was killed")
    lab.wait_until(lambda: nodes.process_of(director, "worker") not in (None, worker) and nodes.status(director), 10,
                   "another worker answers koi")
    goes_on("the worker's death")
    scene.wait_for_event(("is no member, but stands: it drains",))

    replaced, worker = time.monotonic(), nodes.process_of(director, "worker")
    scene.koid.koi("upgrade", timeout=40)
    lab.check(nodes.process_of(director, "worker") != worker, "koi upgrade has replaced the worker")
    goes_on("the upgrade")

    scene.wait_for_weights({"red": 1, "blue": 0}, timeout=DRAIN + 10)
    took = time.monotonic() - replaced
    lab.check(took >= DRAIN, f"green is gone {took:.1f} s after the upgrade began: its time is counted anew, and ends")
    lab.check([line.ask("still there?") for line in lines.values()] == [None, None], "and with it what was left of its connections")


# ---- Standing by ------------------------------------------------------------------------------------------------------------


@story(needs=NEEDS, timeout=60)
def story_a_backup_is_cold_or_warm(lab):
    "standby cold: a backup has no virtual servers; warm: it has them all. It changes with a reload, and koi says which."
    scene, left, right = pair(lab, 0, (20, 40))
    lab.check(witness(right) == {}, "cold: the backup's table is empty")
    lab.check("standby cold" in right.koid.koi("status").stdout, "koi status says cold")
    for word in ("warm", "cold"):
        scene.told["standby"] = word
        right.koid.write_config(scene.told)
        right.koid.koi("reload")
        expected = BOTH if word == "warm" else None
        scene.wait_for_weights(expected, director=right)
        lab.check((saved(right) == saved(left)) == (word == "warm"), f"{word}: {len(witness(right))} virtual servers stand")
        lab.check(f"standby {word}" in right.koid.koi("status").stdout, f"koi status says {word}")
        lab.check(not right.holds(VIP4), "the VIP is where it was")


# ---- The host ---------------------------------------------------------------------------------------------------------------


@story(needs={"koid"}, timeout=60)
def story_without_ip_vs_nothing_is_held(lab):
    "A kernel without ip_vs: one sentence with the command that loads it; such a node is demoted and takes no VIP."
    if Path("/proc/net/ip_vs").exists():
        return lab.say("not told here: this kernel has ip_vs")
    services = {"services": [{"name": "web", "at": VIP4 + ":80/tcp", "pool": "web", "forward": "dr"}],
                "pools": {"web": {"source": {"static": ["10.77.0.21:80"]}}}}
    fit = lab.node("fit", vips=[VIP4 + "/24"], advbase=0, advskew=40)
    lab.wait_until(lambda: fit.holds(VIP4), 10, "a node that has nothing to forward holds the VIP")
    changes = len(lab.address_changes)
    unfit = lab.node("unfit", vips=[VIP4 + "/24"], advbase=0, advskew=10, config=services)
    unfit.koid.wait_ready()

    def about():
        return [one for one in nodes.status(unfit, "troubles").get("troubles", []) if "modprobe ip_vs" in one["sentence"]]
    took = lab.wait_until(about, 10, "a trouble says how to load ip_vs")
    lab.say(f"after {took:.1f} s: " + " · ".join(one["sentence"] for one in about()))
    lab.check(len(about()) == 1 and about()[0]["severity"] == "trouble", "it is said once, and not as a mere warning")
    lab.wait_until(lambda: "modprobe ip_vs" in unfit.koid.text(), 5, "the journal says it, too")
    lab.wait_until(lambda: nodes.group(unfit)["demotion"] == 240, 10, "it is demoted by 240")
    lab.run_for(2)
    moved = [change for change in lab.address_changes[changes:] if change[3] == VIP4]
    lab.check(not moved and nodes.group(unfit)["became_master"] == 0, "its skew is the better one, but it never led")
    fit.kill_power()
    lab.run_for(4)
    lab.check(lab.master(VIP4) == "nobody", "alone on the wire it does not take the VIP")


@story(needs=NEEDS, timeout=60)
def story_the_host_is_told_what_it_lacks(lab):
    "NAT without ip_forward, strict reverse path filtering: said with the command that cures it, and gone when it was run."
    scene = Scene(lab, "nat", only=("tcp4", "tcp6"), names=("red", "green"))
    director = scene.director
    for name, value in (("net.ipv4.ip_forward", 0), ("net.ipv6.conf.all.forwarding", 0), ("net.ipv4.conf.eth0.rp_filter", 1)):
        director.sysctl(name, value)
    scene.list(**BOTH)
    scene.start()
    scene.wait_for_weights(BOTH)

    wanted = {"ip_forward": "sets net.ipv4.ip_forward=1", "forwarding": "sets net.ipv6.conf.all.forwarding=1",
              "rp_filter": "sets net.ipv4.conf.eth0.rp_filter=2"}
    lab.wait_until(lambda: all(any(cure in one for one in sentences(director, "host")) for cure in wanted.values()), 10,
                   "koi show troubles names all three with their cures", every=0.2)
    for sentence in sentences(director, "host"):
        lab.say(sentence)
    lab.check(all(cure in scene.koid.text() for cure in wanted.values()), "so does the journal")
    for sentence in sentences(director, "host"):  # the operator does as told
        for name, value in re.findall(r"sets (\S+?)=(\d)", sentence):
            director.sysctl(name, value)
    scene.list(red=1, green=2)  # a change of a pool makes koid look at the host again
    lab.wait_until(lambda: not sentences(director, "host"), 15, "nothing is said about the host any more", every=0.2)
    answers = scene.ask("tcp4", 6) + scene.ask("tcp6", 6)
    lab.check(answers == {"red": 4, "green": 8}, f"and NAT works: {dict(answers)}")


# ---- Files of backends ------------------------------------------------------------------------------------------------------


@story(needs=NEEDS, timeout=90)
def story_a_broken_file_of_backends_is_not_believed(lab):
    "A garbage line, cut off JSON, a directory, a file nobody may read, no file: the last good list stays and koi says why."
    scene = Scene(lab, "dr", only=("tcp4", "tcp6"), names=("red", "green"))
    # IPv4 backends as lines, IPv6 ones as JSON.
    scene.told["pools"]["v6"]["source"] = {"file": "{dir}/v6.json"}
    scene.list(**BOTH)
    folder = scene.director.folder / "koid"
    lines, tree = folder / "v4.backends", folder / "v6.json"

    def good():
        for path in (lines, tree):
            if path.is_dir():
                path.rmdir()
        replace(lines, scene.text(4, **BOTH))
        replace(tree, json.dumps({"backends": scene.text(6, **BOTH).splitlines()}))
    good()
    scene.start()
    scene.wait_for_weights(BOTH)
    watch = scene.client.watch(VIP4, PORT, every_ms=25)

    def failures():
        return sentences(scene.director, "source")

    def garbage():
        replace(lines, scene.text(4, red=1) + "10.77.0.300:80 1\n")
        return ["v4.backends:2:1", "10.77.0.300"]

    def cut_off():
        replace(tree, json.dumps({"backends": scene.text(6, **BOTH).splitlines()})[:-9])
        return ["v6.json"]

    def directory():
        lines.unlink()
        lines.mkdir()
        return ["v4.backends", "not a plain file"]

    def unreadable():
        replace(tree, tree.read_text(), mode=0o000)
        return ["v6.json", "nobody"]

    def missing():
        lines.unlink()
        return ["v4.backends"]
    for spoil in (garbage, cut_off, directory, unreadable, missing):
        words = spoil()
        lab.say(f"spoiled: {spoil.__name__.replace('_', ' ')}")
        lab.wait_until(lambda: any(all(word in one for word in words) for one in failures()), 8,
                       f"a trouble with {words}", every=0.1)
        sentence = failures()[0]
        lab.say(sentence)
        lab.check("last known" in sentence, "it says that the last known list goes on")
        lab.check(all(scene.weights(place) == BOTH for place in scene.places), "the table is as it was")
        good()
        lab.wait_until(lambda: not failures(), 8, "mended: nothing is said any more", every=0.1)
    nothing_lost(lab, watch, "five files were broken")


def replace(path, text, mode=0o644):
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.chmod(mode)
    beside.rename(path)


@story(needs=NEEDS, timeout=60)
def story_an_emptied_file_is_questioned(lab):
    "An empty file is not believed at all; one that says there is nobody is questioned for a while, and then believed."
    scene = Scene(lab, "dr", only=("tcp4",), names=("red", "green"), pool={"guard": {"hold_empty": "3s"}, "drain": "0s"})
    director = scene.director
    scene.list(**BOTH)
    scene.start()
    scene.wait_for_weights(BOTH)
    watch = scene.client.watch(VIP4, PORT, every_ms=25)

    def asked():
        return nodes.status(director, "pools")["pools"][0]["empty_since"]
    replace(director.folder / "koid/v4.backends", "")
    lab.wait_until(lambda: sentences(director, "source"), 3, "the file is empty, and koi tells of it")
    lab.say(sentences(director, "source")[0])
    lab.run_for(4)
    lab.check(scene.weights("tcp4") == BOTH, "the table is as it was, and stays so, longer than hold_empty")
    scene.list(**BOTH)
    lab.wait_until(lambda: not sentences(director, "source"), 3, "filled again: nothing is said any more")

    scene.list()
    lab.wait_until(asked, 3, "the file says that there is nobody; koi questions it")
    lab.check("empty?" in scene.koid.koi("show", "pools").stdout, "and shows it in words")
    lab.check(scene.weights("tcp4") == BOTH, "the table is as it was")
    scene.list(**BOTH)
    lab.wait_until(lambda: not asked(), 3, "filled again: the question is over")
    lab.run_for(3.5)
    lab.check(scene.weights("tcp4") == BOTH, "the table is as it was after the time would have been up")
    nothing_lost(lab, watch, "the file was empty, and empty again")
    scene.list()
    lab.wait_until(asked, 3, "nobody again")
    took = scene.wait_for_weights({}, timeout=8)
    lab.check(took > 1.5, f"believed {took:.1f} s later")


@story(needs=NEEDS, timeout=60)
def story_every_way_to_change_a_file_is_followed(lab):
    "Written in place, renamed over, deleted and made anew, a symlink swapped, a folder symlink swapped as Kubernetes does."
    scene = Scene(lab, "dr", only=("tcp4",), names=("red", "green"))
    folder = scene.director.folder / "koid"
    scene.list(red=1)
    file = folder / "v4.backends"
    scene.start()
    scene.wait_for_weights({"red": 1})

    def in_place(text):
        file.write_text(text)

    def renamed(text):
        replace(file, text)

    def anew(text):
        file.unlink()
        lab.run_for(0.1)
        file.write_text(text)

    def symlink(text):
        target = folder / f"list-{scene.lab.relative(0):.0f}-{len(text)}-{os.urandom(2).hex()}"
        target.write_text(text)
        swap(file, target.name)

    def folder_symlink(text):
        data = folder / f"..{os.urandom(4).hex()}"
        data.mkdir()
        (data / "v4.backends").write_text(text)
        swap(folder / "..data", data.name)
        if os.path.realpath(file) != os.path.realpath(data / "v4.backends"):
            swap(file, "..data/v4.backends")

    def swap(name, target):
        beside = folder / "beside"
        beside.symlink_to(target)
        beside.rename(name)
    for weight, way in enumerate((in_place, renamed, anew, in_place, symlink, symlink, folder_symlink, folder_symlink), 2):
        way(scene.text(4, red=weight))
        took = scene.wait_for_weights({"red": weight})
        lab.check(took < 2, f"{way.__name__.replace('_', ' ')}: followed after {took * 1000:.0f} ms")


# ---- Configurations ---------------------------------------------------------------------------------------------------------

CONFIGURATION = f"""\
node: left
carp:
  interface: eth0
  key_file: {{key_file}}
  advbase: 0
  advskew: 20
vips:
  - vhid: 51
    addresses: [{VIP4}/24, "{VIP6}/64"]
services:
  - name: web
    at: {VIP4}:{PORT}/tcp
    pool: web
    scheduler: wrr
    forward: dr
pools:
  web:
    drain: 20s
    source:
      static: ["10.77.0.21:{PORT} 1", "10.77.0.22:{PORT} 1"]
"""
# What went wrong, as three operators did it to keepalived; where Koi must see it, and what it must propose.
BROKEN = (("a value is missing", "    scheduler: wrr", "    scheduler:", ":14:", ("services[0].scheduler",)),
          ("a key is misspelt", "    scheduler: wrr", "    schedular: wrr", ":14:", ("services[0].schedular", '"scheduler"')),
          ("a bracket is missing", f"{VIP6}/64\"]", f"{VIP6}/64\"", ":9:", ("]",)))


@story(needs=NEEDS, timeout=60)
def story_a_broken_reload_changes_nothing(lab):
    "A missing value, a misspelt key, a missing bracket: refused with place and proposal; table, address, traffic untouched."
    scene = Scene(lab, "dr", only=("tcp4",), names=("red", "green"))
    scene.told = CONFIGURATION
    director = scene.director
    koid = scene.start()
    scene.wait_for_weights(BOTH)
    line, table, role = scene.line("tcp4", "red"), saved(director), role_of(director)
    watch = scene.client.watch(VIP4, PORT, every_ms=20)
    for what, right, wrong, place, words in BROKEN:
        lab.say(f"{what}: '{wrong.strip()}'")
        koid.write_config(CONFIGURATION.replace(right, wrong))
        done = koid.koi("reload", check=False)
        said = (done.stdout + done.stderr).strip()
        lab.say(f"koi reload ends with {done.returncode}: {said}")
        lab.check(done.returncode == 1, "koi reload ends with 1")
        lab.check(f"koi.yaml{place}" in said and all(word in said for word in words), f"it names {place} and {words}")
        tested = koid.test("-t", check=False)
        lab.check(tested.returncode == 78 and f"koi.yaml{place}" in tested.stderr, "koid -t says the same and ends with 78")
        already = koid.text().count("the configuration was refused")
        koid.reload()
        lab.wait_until(lambda: koid.text().count("the configuration was refused") > already, 5, "SIGHUP is refused as well")
        lab.check(saved(director) == table and role_of(director) == role, "table and role are as they were")
        trouble = sentences(director, "reload")
        lab.check(len(trouble) == 1 and f"koi.yaml{place}" in trouble[0], f"koi status goes on saying it: {trouble}")
        lab.check(koid.alive(), "koid lives")
    koid.write_config(CONFIGURATION)
    done = koid.koi("reload")
    lab.say(f"mended; koi reload says: {done.stdout.strip()}")
    lab.check(not sentences(director, "reload"), "nothing is said about the configuration any more")
    nothing_lost(lab, watch, "three configurations were refused, twice each")
    lab.check(line.ask("still there?") == "red still there?", "the old connection goes on")
    # The same three in a file that is also changed for real, mended: then all of it is applied.
    koid.write_config(CONFIGURATION.replace("scheduler: wrr", "scheduler: rr"))
    koid.reload()
    lab.wait_until(lambda: "-s rr" in saved(director), 5, "a good change by SIGHUP is applied")
    lab.check(line.ask("and now?") == "red and now?", "and the old connection goes on")


@story(needs=NEEDS, timeout=60)
def story_a_bad_configuration_never_starts(lab):
    "koid with a bad configuration ends with 78 and says where; nothing was held, made or announced."
    scene = Scene(lab, "dr", only=("tcp4",), names=("red",))
    for what, right, wrong, place, words in BROKEN:
        koid = lab.koid(scene.director, CONFIGURATION.replace(right, wrong))
        code = koid.wait(10)
        said = koid.text()
        lab.say(f"{what}: ends with {code} after it said: {said.strip()}")
        lab.check(code == 78, "koid ends with 78")
        lab.check(f"koi.yaml{place}" in said and all(word in said for word in words), f"it names {place} and {words}")
        lab.check(koid.noticed("READY") is None, "it never said READY")
        lab.check(not scene.director.holds(VIP4) and witness(scene.director) == {}, "no VIP, no virtual server")
