"""README.md, "A real pair in ten minutes": its commands are typed, word for word, on two machines."""

import re
import time
from pathlib import Path

from machines import story

README = Path(__file__).resolve().parents[3] / "README.md"
HOSTS = ("lb1", "lb2")
MOST_COMMANDS = 10
VIP = "192.0.2.10"
SSH = ("openssh-server", "openssh-client")


class Section:
    """What the section tells its reader to do, in its order: ("run", host, command) and ("file", name, text)."""

    def __init__(self, text):
        body = text.split("## A real pair in ten minutes\n", 1)[1].split("\n## ", 1)[0]
        self.steps, prose = [], ""
        for piece in re.split(r"^(```.*?^```)$", body, flags=re.M | re.S):
            if not piece.startswith("```"):
                prose += piece
                continue
            head, inside = piece[3:-3].split("\n", 1)
            if head.startswith("sh on "):
                self._commands(re.findall(r"[a-z0-9]+", head[6:].replace(" and ", " ")), inside)
            elif head == "yaml":
                self.steps.append(("file", "/etc/koi/koi.yaml", inside))
            elif written := re.search(r"write `(/etc/koi/[a-z.]+)`[^`]*\Z", prose):
                self.steps.append(("file", written[1], inside))
            else:
                assert inside == "sudo ./dev deb\n", f"who types this, and where? {inside}"
            prose = ""

    def _commands(self, hosts, text):
        for host in hosts:
            assert host in (*HOSTS, "client"), f"there is no host {host}"
            self.steps += [("run", host, line) for line in text.splitlines()]

    def of(self, host):
        return [what for kind, who, what in self.steps if kind == "run" and who == host]


SECTION = Section(README.read_text())


def lines_of(machine, text):
    """A block of the file as one host has it: where a comment says `on HOST: VALUE`, that is its value."""
    return re.sub(r"^(\s*\w+: )\S+(\s*# on (\w+): (\S+))$",
                  lambda line: line[1] + line[4] + line[2] if line[3] == machine.name else line[0], text, flags=re.M)


def as_the_readme_says(lab, serve):
    """Both hosts as its first sentence has them, and all that is typed on them up to the service, or including it."""
    lb1, lb2 = machines = {name: lab.machine(name) for name in HOSTS}.values()
    for machine in machines:
        machine.sh("cp /repo/koi_*.deb /root/")
    lb1.sh(f"echo '{lb2.address()} lb2' >>/etc/hosts; mkdir -p -m 700 /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
    lb2.write("/root/.ssh/authorized_keys", lb1.read("/root/.ssh/id_ed25519.pub"), 0o600)
    lab.wait_until(lambda: lb1.run("ssh-keyscan -t ed25519 lb2 >/root/.ssh/known_hosts 2>/dev/null", check=False).returncode == 0
                   and lb1.read("/root/.ssh/known_hosts"), 30, "lb2 answers ssh", every=0.2)
    client = lab.host("reader", number=90, addresses=[f"{VIP.rsplit('.', 1)[0]}.200/24"])
    hosts, files = {"lb1": lb1, "lb2": lb2, "client": client}, {}
    for kind, where, what in SECTION.steps:
        if kind == "file" and what.startswith("services:") and not serve:
            break
        if kind == "file":
            files[where] = files.get(where, "") + what if where.endswith(".yaml") else what
            for machine in machines:
                machine.write(where, lines_of(machine, files[where]))
            continue
        if where == "client" and what.startswith("ping"):
            lab.wait_until(lambda: lab.master(VIP) == "lb1", 10, "lb1 leads")
        done = hosts[where].run(what, check=False, timeout=120)
        hosts[where].say(what)
        lab.check(done.returncode == 0, f"'{what}' on {where} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return lb1, lb2, client


@story(timeout=30, koi=False)
def story_the_readme_is_short(lab):
    """README's pair has at most ten commands a host, each a line of its own, and the hosts differ in advskew alone."""
    for host in HOSTS:
        commands = SECTION.of(host)
        lab.say(f"{host}: {len(commands)} commands")
        lab.check(0 < len(commands) <= MOST_COMMANDS, f"{host}: at most {MOST_COMMANDS} commands")
        for command in commands:
            lab.check("&&" not in command and ";" not in command and command.startswith("sudo "), f"one command: {command}")
    text = "".join(what for kind, where, what in SECTION.steps if kind == "file")
    lab.check(re.findall(r"# on lb2: (\S+)", text) == ["100"] and "advskew: 0" in text, "advskew is what differs")
    for needed in ("sudo koi keygen", "sudo systemctl enable --now koi"):
        lab.check(needed in SECTION.of("lb1"), f"lb1: {needed}")
    lab.check("auth: require" in text, "the adverts are signed")


@story(timeout=180, packages=SSH)
def story_the_readme_makes_a_pair(lab):
    """README's commands, word for word, make a pair of two machines: the address answers, signed, and survives a stop."""
    lb1, lb2, client = as_the_readme_says(lab, serve=False)
    lab.metronome  # from here on it is known how late this machine was
    lab.wait_until(lambda: (lb1.role(51), lb1.role(52), lb2.role(51), lb2.role(52)) == ("master", "master", "backup", "backup"),
                   20, "lb1 leads, lb2 stands by")
    lab.check(lb1.run(["systemctl", "is-enabled", "koi"]).stdout.strip() == "enabled", "and starts at boot")
    for machine in (lb1, lb2):
        lab.check("all well" in machine.run(["koi", "status"]).stdout, f"{machine.name}: all well")
        kept = machine.sh("stat -c '%U %a' /etc/koi/keys /etc/koi/keys/*").stdout.split("\n")[:3]
        lab.check(kept[0] == "root 750" and {one.split()[1] for one in kept[1:]} == {"400"}, f"{machine.name}: {kept}")
    lab.wait_until(lambda: "stands by" in lb1.run(["koi", "show", "peers"]).stdout, 5, "lb1 hears lb2's signature")
    watch, began = client.watch(VIP, proto="ping", every_ms=2), time.monotonic()
    lab.run_for(0.3)
    lb1.systemctl("stop", "koi")
    lab.wait_until(lambda: lb2.role(51) == "master", 5, "lb2 leads")
    lab.run_for(0.5)
    watch.end()
    lab.within(watch.longest_dark, 0, began, f"{watch.failures} of {watch.probes} pings lost, dark")


@story(needs={"ip_vs"}, timeout=900, packages=SSH)
def story_the_readme_serves(lab):
    """README's commands to their end: the web service answers through the address that the pair holds."""
    for number, name in ((11, "red"), (12, "blue")):
        backend = lab.host(name, number=number, wires=("back",), addresses=[f"10.0.0.{number}/24"], gateway="10.0.0.1")
        lab.backend(backend, name, f"tcp:10.0.0.{number}:8080")
    lb1, lb2, client = as_the_readme_says(lab, serve=True)
    told = {client.run("curl -s http://192.0.2.10/").stdout.strip() for _ in range(8)}
    lab.check(told == {"red", "blue"}, f"both backends answer: {told}")
    for machine in (lb1, lb2):
        lab.check("all well" in machine.run(["koi", "status"]).stdout, f"{machine.name}: all well")
