"""What an operator and a service manager see of koid: notifications, koi's words, exit codes, screens."""

import json
import re
import time

from adverts import Ear
from lab import story
from nodes import FAST, FAST_BACKUP, VIP, VIP_6, boot, group, role, status, trouble, wait_for_master
from processes import BUILD

PARTS = ("roles", "vips", "services", "pools", "sources", "troubles", "peers")


@story(needs={"koid"}, timeout=60, quiet=True)
def story_service_manager_is_told(lab):
    """READY comes soon and not before koi is answered; RELOADING, STOPPING and STATUS as they happen; WATCHDOG all the time."""
    left = lab.host("left")
    config = {"carp": {"interface": "eth0", **FAST}, "vips": [{"vhid": 51, "addresses": [f"{VIP}/24"]}]}
    koid = lab.koid(left, config, environment={"WATCHDOG_USEC": "600000"})
    ready = koid.wait_ready()
    lab.say(f"READY after {1000 * ready:.0f} ms")
    lab.check(ready <= 1, "ready within a second")
    first = koid.koi("status")
    lab.check(first.returncode == 0 and "left" in first.stdout, "and koi is answered at that moment")
    lab.check(role(left) in ("backup", "master"), f"the election has begun: {role(left)}")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: "master of 51" in (koid.status_line or ""), 3, "STATUS tells the role")

    lab.run_for(2)
    pings = [when for when, notice in koid.notices if "WATCHDOG" in notice]
    gaps = [later - earlier for earlier, later in zip(pings, pings[1:])]
    lab.check(len(pings) >= 3, f"{len(pings)} WATCHDOG pings")
    lab.check_soon(max(gaps), 0.6, "never far apart")

    told = len(koid.notices)
    koid.reload()
    lab.wait_until(lambda: [word for _, notice in koid.notices[told:] for word in notice if word in ("RELOADING", "READY")]
                   == ["RELOADING", "READY"], 5, "a reload is RELOADING and then READY")
    reloading = next(notice for _, notice in koid.notices[told:] if "RELOADING" in notice)
    now = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    lab.check(0 <= now - int(reloading["MONOTONIC_USEC"]) < 10e6, "RELOADING carries the time of CLOCK_MONOTONIC")
    lab.check(koid.stop() == 0, "koid ends with 0")
    lab.check(koid.noticed("STOPPING") is not None, "and said STOPPING")
    lab.check([1 for _, notice in koid.notices if "READY" in notice] == [1, 1], "READY was said once at the start, once after the reload")


@story(needs={"koid"}, timeout=60)
def story_watchdog_and_hung_speaker(lab):
    """A speaker that hangs stops its pings, so that the service manager ends it."""
    left = lab.host("left")
    config = {"carp": {"interface": "eth0", **FAST}, "vips": [{"vhid": 51, "addresses": [f"{VIP}/24"]}]}
    koid = lab.koid(left, config, environment={"WATCHDOG_USEC": "400000"})
    wait_for_master(lab, "left")
    left.freeze()
    lab.run_for(0.2)
    before = len(koid.notices)
    lab.run_for(1)
    lab.check(len(koid.notices) == before, "frozen, it says nothing")
    left.thaw()
    lab.wait_until(lambda: len(koid.notices) > before, 3, "thawed, it speaks again")


@story(needs={"koid"}, timeout=60)
def story_koi_shows(lab):
    """Every word of koi on a running pair: text within 100 columns, JSON with stable names, exit codes."""
    vips = [f"{VIP}/24", f"{VIP_6}/64"]
    left = lab.node("left", vips=vips, config={"carp": FAST})
    lab.node("right", vips=vips, config={"carp": FAST_BACKUP})
    wait_for_master(lab, "left")
    lab.wait_until(lambda: not [one for one in status(left, "vips")["vips"] if not one["present"]], 3, "left shows its vips as there")
    koi = left.koid.koi

    def narrow(text, what):
        widest = max((len(line) for line in text.splitlines()), default=0)
        lab.check(widest <= 100, f"{what}: {len(text.splitlines())} lines, {widest} columns at most")
        lab.check("\x1b" not in text, f"{what}: no colour where it is no terminal")
    screen = koi("status").stdout
    narrow(screen, "koi status")
    lab.check(screen.splitlines()[0].startswith("left") and "all well" in screen.splitlines()[0], f"says first: {screen.splitlines()[0]}")
    whole = left.koid.koi_json("status")
    lab.check({"node", "version", "time", "uptime_seconds", "roles", "vips", "services", "pools", "troubles", "peers"} <= set(whole),
              f"koi status -o json has {len(whole)} members")
    lab.check("node: left" in koi("status", "-o", "yaml").stdout, "koi status -o yaml")
    for part in PARTS:
        narrow(koi("show", part).stdout, f"koi show {part}")
        lab.check(part in left.koid.koi_json("show", part), f"koi show {part} -o json")
    lab.check({one["vip"]: one["present"] for one in left.koid.koi_json("show", "vips")["vips"]} == {vip: True for vip in vips},
              "both vips are here")
    sentences = [json.loads(line)["sentence"] for line in koi("events", "-o", "json").stdout.splitlines()]
    lab.check(any("vhid 51 is master now" in one for one in sentences), f"koi events -o json: {len(sentences)} events")
    narrow(koi("events", "-n", "5").stdout, "koi events -n 5")

    for arguments, code in ((["status"], 0), (["plan"], 0), (["version"], 0), (["show", "nonsense"], 2), (["nonsense"], 2),
                            (["status", "-o", "nonsense"], 2), (["step-down", "77"], 1), (["step-down", "0"], 2), (["plan", "-c", "/nowhere"], 1)):
        done = koi(*arguments, check=False)
        said = (done.stderr or done.stdout).strip().splitlines()
        lab.check(done.returncode == code, f"koi {' '.join(arguments)} ends with {done.returncode}: {said[0] if said else ''}")
    left.koid.stop()
    for words in (["status"], ["show", "roles"], ["plan"], ["events"], ["reload"], ["step-down", "51"]):
        done = koi(*words, check=False)
        lab.check(done.returncode == 3 and str(left.koid.socket) in done.stderr, f"koi {words[0]} without koid ends with {done.returncode}: {done.stderr.strip()}")


@story(needs={"koid"}, timeout=60)
def story_koi_watches(lab):
    """koi events -f tells what happens while it happens; koi status --watch goes on until it is ended."""
    left = lab.node("left", config={"carp": FAST})
    left.koid.wait_ready()
    seen = left.start([BUILD / "koi", "events", "-f"], "events", environment={"KOI_SOCKET": str(left.koid.socket)})
    screen = left.start([BUILD / "koi", "status", "--watch=1"], "watch", environment={"KOI_SOCKET": str(left.koid.socket)})
    wait_for_master(lab, "left")
    seen.wait_for_text("is master now", 3)
    lab.run_for(2.2)
    lab.check(screen.text().count("ROLES") >= 2, "the screen was shown again and again")
    lab.check("master" in screen.text(), "with the new role")
    left.koid.stop()
    lab.wait_until(lambda: not seen.alive(), 5, "koi events -f ends when koid ends")
    screen.stop()


@story(needs={"koid"}, timeout=60)
def story_each_trouble_is_told_once(lab):
    """What the host lacks (ip_vs, forwarding, a list of backends) is one sentence in the journal and one among the events, with
    the command that helps."""
    left = lab.node("left", config={"carp": FAST, "services": [
        {"name": name, "at": f"{VIP}:{port}/tcp", "pool": name, "forward": "nat"} for name, port in (("web", 80), ("dns", 53))],
        "pools": {"web": {"source": {"static": ["10.77.0.50:80"]}}, "dns": {"source": {"file": "{dir}/none"}}}})
    left.sysctl("net.ipv4.ip_forward", 0)
    koid = left.koid
    koid.wait_ready()
    lab.wait_until(lambda: {one["what"] for one in status(left, "troubles")["troubles"]} >= {"host", "source"}, 10, "koid looked at the host")
    lab.run_for(2)
    known = [one for one in status(left, "troubles")["troubles"] if one["what"] in ("ipvs", "host", "source", "lease")]
    events = [json.loads(line)["sentence"] for line in koid.koi("events", "-o", "json").stdout.splitlines()]
    for one in known:
        lab.say(one["sentence"])
        start = one["sentence"].split(";")[0]
        lab.check(koid.text().count(start) == 1, f"once in the journal: {koid.text().count(start)}")
        lab.check(sum(start in each for each in events) == 1, "once among the events")
        if one["what"] in ("ipvs", "host"):
            lab.check(len(re.findall("run: |with: ", one["sentence"])) == 1, "one command")


@story(needs={"koid"}, timeout=60)
def story_plan_and_reload(lab):
    """koi plan says what a file would change; koi reload applies it, or refuses it and changes nothing."""
    second = "10.77.0.101"
    left = lab.node("left", config={"carp": FAST})
    wait_for_master(lab, "left")
    koid = left.koid
    config = json.loads(koid.config_file.read_text())
    lab.check(koid.koi("plan").returncode == 0, "nothing to do: exit 0")
    lab.check(koid.koi("reload").returncode == 0 and role(left) == "master", "a reload of the same file")

    wider = {**config, "vips": [*config["vips"], {"vhid": 52, "addresses": [f"{second}/24"]}]}
    file = koid.write("wider.yaml", json.dumps(wider))
    done = koid.koi("plan", "-c", file, check=False)
    lab.check(done.returncode == 2 and second in done.stdout, f"koi plan -c: exit 2: {done.stdout.strip()}")
    lab.check(not left.holds(second), "a plan changes nothing")
    other = koid.write("other.yaml", json.dumps({**config, "carp": {**config["carp"], "advskew": 77, "preempt": False}}))
    done = koid.koi("plan", "-c", other, check=False)
    lab.check("change advskew, preempt of vhid 51" in done.stdout, f"which keys change: {done.stdout.strip()}")

    # A file that koid cannot see, in a /tmp of the caller's own, with what it includes, IPv6 among it.
    koid.write("unseen/koi.yaml", json.dumps(config).replace('"vips": [', '"vips": [!include vips.d/*.yaml, '))
    koid.write("unseen/vips.d/six.yaml", "- { vhid: 53, addresses: [\"fd77::53/64\"] }\n")
    hidden = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs tmpfs /mnt && cp -r {koid.folder}/unseen/. /mnt && "
              f"exec {BUILD}/koi --socket {koid.socket} plan -c /mnt/koi.yaml"]
    done = left.run(hidden, check=False)
    lab.check(done.returncode == 2 and "join vhid 53 on eth0: fd77::53/64" in done.stdout, f"a file koid cannot see: {done.stdout}{done.stderr}")
    koid.write("unseen/vips.d/six.yaml", "- { vhid: 53, adresses: [\"fd77::53/64\"] }\n")
    done = left.run(hidden, check=False)
    lab.check(done.returncode == 1 and '/mnt/vips.d/six.yaml:1:15  vips[0].adresses: unknown key; did you mean "addresses"?' in done.stderr,
              f"its mistakes have their place: {done.stderr}")

    koid.write_config(wider)
    done = koid.koi("reload")
    lab.check("applied" in done.stdout, f"koi reload: {done.stdout.strip()}")
    wait_for_master(lab, "left", second)
    lab.check(group(left)["became_master"] == 1, "vhid 51 did not notice")

    broken = {**config, "carp": {**config["carp"], "advskwe": 3}, "vips": [{"vhid": 500, "addresses": ["10.77.0.300/24"]}]}
    koid.write_config(broken)
    done = koid.koi("reload", check=False)
    said = done.stdout + done.stderr
    lab.check(done.returncode == 1, "a broken file: exit 1")
    for word in ("advskwe", "advskew", "500", "10.77.0.300", f"{koid.config_file}:"):
        lab.check(word in said, f"all complaints at once, this one too: {word}")
    lab.check(left.holds(VIP) and left.holds(second), "nothing was changed")
    lab.check(trouble(left, "reload"), f"a trouble says so: {trouble(left, 'reload')}")
    done = koid.test("-t", check=False)
    lab.check(done.returncode == 78, "koid -t ends with 78")

    koid.write_config(config)
    lab.check(koid.koi("reload").returncode == 0, "the first file again")
    wait_for_master(lab, "nobody", second)
    lab.check(left.holds(VIP) and group(left)["became_master"] == 1, "vhid 51 still did not notice")
    lab.check(trouble(left, "reload") is None, "the trouble is over")
    done = koid.test("-T")
    lab.check("vhid: 51" in done.stdout and "preempt_delay" in done.stdout, "koid -T prints it in full, defaults included")
    lab.check("koi-lab" not in done.stdout, "but not the key")


@story(needs={"koid"}, timeout=60)
def story_reload_changes_the_election(lab):
    """A reload may change skew, password and addresses of a living pair, one node after the other; one leads all the time."""
    left = lab.node("left", config={"carp": FAST})
    right = lab.node("right", config={"carp": FAST_BACKUP})
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")

    def change(node, **carp):
        config = json.loads(node.koid.config_file.read_text())
        vips = carp.pop("addresses", None)
        if vips:
            config["vips"][0]["addresses"] = vips
        config["carp"].update(carp)
        node.koid.write_config(config)
        lab.check("applied" in node.koid.koi("reload").stdout, f"{node.name} reloads with {carp or vips}")
    change(left, advskew=100)
    wait_for_master(lab, "right")
    change(left, advskew=60)
    wait_for_master(lab, "left")
    leaders = group(left)["became_master"], group(right)["became_master"]
    # The backup first; then nobody is in a hurry, because what was in force before is accepted for a minute.
    for node in (right, left):
        change(node, addresses=[f"{VIP}/24", "10.77.0.101/24"])
        lab.run_for(1.5)
    wait_for_master(lab, "left", "10.77.0.101")
    for node in (right, left):
        node.koid.key_file.write_text("another one")
        change(node)
        lab.run_for(1.5)
    lab.check(lab.master(VIP) == lab.master("10.77.0.101") == "left", "left holds both")
    lab.check((group(left)["became_master"], group(right)["became_master"]) == leaders, "more addresses and another key moved nothing")


@story(needs={"koid"}, timeout=60)
def story_step_down(lab):
    """koi step-down hands the lead to the peer at once and keeps it there; koi step-up ends that."""
    left = lab.node("left", config={"carp": FAST})
    right = lab.node("right", config={"carp": FAST_BACKUP})
    ear = Ear(lab.host("client"))
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    asked = time.monotonic()
    lab.check(left.koid.koi("step-down", "51").returncode == 0, "koi step-down 51")
    took = wait_for_master(lab, "right")
    lab.say(f"right leads {1000 * took:.0f} ms later")
    lab.check(len(ear.since(asked, source=left.address(), advbase=255)) == 2, "left said that it leaves")
    lab.check(group(left)["stepped_down"], "left says it stepped down")
    lab.run_for(2)
    lab.check(lab.master(VIP) == "right", "left stays back, although it preempts")
    lab.check("takes no part" in (trouble(left, "stepped_down") or ""), "and warns that it takes no part")
    right.kill_power()
    lab.run_for(1.5)
    lab.check(lab.master(VIP) == "nobody", "even when nobody else is there: it is the operator's word")
    lab.wait_until(lambda: "nobody serves" in (trouble(left, "stepped_down") or ""), 2, "it says so")
    said = [one for one in left.koid.koi("events", "-o", "json").stdout.splitlines() if "nobody serves" in one]
    lab.check(len(said) == 1 and json.loads(said[0])["level"] == 3, "and koi events has it as an error, though a warning stood already")
    boot(right)
    wait_for_master(lab, "right")
    lab.check(left.koid.koi("step-up", "51").returncode == 0, "koi step-up 51")
    wait_for_master(lab, "left")


@story(needs={"koid"}, timeout=60, quiet=True)
def story_large_configuration(lab):
    """koid -t reads a configuration with 10,000 backends in a moment."""
    left = lab.host("left")
    key = left.folder / "carp.key"
    key.touch(mode=0o600)
    key.write_text("koi-lab")
    lines = [f"carp: {{ interface: eth0, key_file: {key} }}", "vips:", "  - { vhid: 51, addresses: [10.77.0.100/24] }", "pools:"]
    for pool in range(100):
        lines += [f"  pool{pool}:", "    source:", "      static:"]
        lines += [f"        - 10.{pool}.0.{n}:8080 {1 + n % 9}" for n in range(100)]
    lines += ["services:"]
    lines += [f"  - {{ name: s{pool}, at: 10.77.0.100:{1000 + pool}/tcp, pool: pool{pool}, scheduler: wrr, forward: nat }}" for pool in range(100)]
    file = left.folder / "koi.yaml"
    file.write_text("\n".join(lines) + "\n")
    best = 99.0
    for _ in range(3):
        began = time.monotonic()
        done = left.run([BUILD / "koid", "-t", "-c", file])
        best = min(best, time.monotonic() - began)
    lab.say(f"koid -t with 10,000 backends: {1000 * best:.0f} ms; {done.stdout.strip()}")
    lab.check(best <= 2, "within two seconds")
    lab.check(re.search(r"100 services", done.stdout), "it has read them")
