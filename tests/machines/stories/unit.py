"""The unit as it is shipped, run by systemd itself: who its processes are, what happens when they hang or die, and what an
operator meets who has not configured anything, or comes from a koid that ran as root."""

import os
import time
from pathlib import Path

from machines import VIP, story
from nodes import became_master, wait_for_master

LIST = "10.77.0.9:80\n"
# No services: a kernel without ip_vs would not lead then.
POOLS = {"pools": {"web": {"source": {"file": "/etc/koi/web.list"}}}}


def pair(lab, timeout=20, **parts):
    """Two machines that lead and listen, with a pool to watch."""
    lb1, lb2 = lab.pair(**{**POOLS, **parts})
    for machine in (lb1, lb2):
        machine.write("/etc/koi/web.list", LIST)
    lab.start(lb1, lb2, timeout=timeout)
    lab.wait_until(lambda: lb2.role() == "backup", timeout, "lb2 listens")
    return lb1, lb2


def about(pid):
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def user(machine, pid):
    uid = about(pid)["Uid"].split()[0]
    return machine.sh(f"getent passwd {uid} | cut -d: -f1").stdout.strip()


AGREED = 0.02  # seconds: while one hands over to the other by agreement, both answer


def check_resumed(lab, lb2, away, lease):
    """Nobody else led if koid was back in time. A machine that needs seconds to start a program proves nothing here."""
    if away < lease:
        lab.check(became_master(lb2) == 0, f"back after {away:.2f} s, within its lease of {lease} s: lb2 never led")
    else:
        lab.say(f"this machine took {away:.2f} s to have koid back, longer than its lease of {lease} s")


def scout_is_nobody(lab, machine):
    lab.wait_until(lambda: machine.pid("koid-scout"), 10, "a scout runs")
    lab.wait_until(lambda: int(about(machine.pid("koid-scout"))["CapPrm"], 16) == 0, 5, "and has given up all rights")
    return user(machine, machine.pid("koid-scout"))


@story(timeout=120)
def story_unit_life(lab):
    """Under systemd koid is the user koi, its scout the user koi-scout without a right; it leads within 4 s, reloads, and a
    clean stop and start leave nothing and need nothing. systemd's own judgement is at most 2.5."""
    lb1, lb2 = lab.pair(**POOLS)
    lb1.write("/etc/koi/web.list", LIST)
    began = time.monotonic()
    lab.start(lb1)
    took = time.monotonic() - began
    lab.check(took <= 5, f"led {took:.2f} s after its start")
    lab.check(user(lb1, lb1.pid("koid")) == "koi" and user(lb1, lb1.pid("koid-worker")) == "koi", "speaker and worker are koi")
    lab.check(scout_is_nobody(lab, lb1) == "koi-scout", "the scout is koi-scout")
    for program, expected in (("koid", 0x3000), ("koid-worker", 0x1000), ("koid-scout", 0)):
        told = about(lb1.pid(program))
        lab.check(int(told["CapEff"], 16) == expected and told["NoNewPrivs"] == "1" and told["Seccomp"] == "2",
                  f"{program} has {told['CapEff']} in effect, no new privileges, filtered calls")
    score = {program: Path(f"/proc/{lb1.pid(program)}/oom_score_adj").read_text().strip() for program in ("koid", "koid-scout")}
    # A machine without CAP_SYS_RESOURCE, as a lab may be, lets systemd spare nobody.
    lab.check(score["koid"] in ("-900", "0") and score["koid-scout"] == "0", f"where memory runs out the scout goes first: {score}")
    lab.check("koi.sock" in lb1.sh("ls -l /run/koi | grep 'srw-rw---- .* koi *koi '").stdout, "the socket is the group's")
    lb1.sh("useradd -G koi eve && su -s /bin/sh eve -c 'koi status'")
    exposure = lb1.run(["systemd-analyze", "security", "--threshold=25", "koi"], check=False)
    lab.check(exposure.returncode == 0, exposure.stdout.splitlines()[-1])
    lb1.write("/etc/koi/web.list", LIST + "10.77.0.10:80\n")
    lb1.systemctl("reload", "koi")
    lb1.systemctl("restart", "koi")
    wait_for_master(lab, "lb1")
    lb1.systemctl("stop", "koi")
    lab.check(lb1.unit("Result") == "success" and lb1.unit("NRestarts") == "0", "it stopped as asked, and never restarted")
    lab.check(not lb1.holds(VIP) and lb1.sh("nft list ruleset 2>/dev/null | grep -c koi", check=False).stdout.strip() in ("", "0"),
              "nothing is left")
    lab.check(not lb1.journal(arguments=["-p", "err"]), "and nothing went wrong")


@story(timeout=120)
def story_unit_deaths(lab):
    """Each process is killed, one after the other: it comes back as who it was, lb1 leads all the time, and NRestarts counts
    the deaths of koid."""
    lb1, lb2 = pair(lab)
    owners, away = lab.owners(VIP, [lb1, lb2]), 0
    for program in ("koid-scout", "koid-worker", "koid", "koid"):
        died, before = time.monotonic(), lb1.kill(program)
        lab.wait_until(lambda: lb1.pid(program) not in (None, before), 10, f"another {program}")
        lab.wait_until(lambda: lb1.role() == "master", 15, "lb1 goes on as master")
        away = max(away, time.monotonic() - died)
        lab.check(scout_is_nobody(lab, lb1) == "koi-scout", "the scout is koi-scout")
    lab.run_for(4)
    owners.end()
    lab.check(lb1.unit("NRestarts") == "2", "NRestarts is 2")
    lab.check(lab.master(VIP) == "lb1", "lb1 leads")
    check_resumed(lab, lb2, away, lease=1.8)  # 2.85 s, less the second since its last advert
    lab.check(owners.doubly <= AGREED, "never two owners")


@story(timeout=120)
def story_unit_stopped_processes(lab):
    """Each process is stopped (SIGSTOP): systemd notices a stopped koid within half of its peers' patience and the next one
    resumes; koid notices a stopped worker, and that one a stopped scout."""
    lb1, lb2 = pair(lab, carp={"advbase": 2})  # so that a busy machine, too, has started koid in the other half
    lab.check(lb1.unit("WatchdogUSec") == "3s", f"the watchdog waits {lb1.unit('WatchdogUSec')}")
    owners, watch = lab.owners(VIP, [lb1, lb2]), lab.watch(VIP)
    away = 0
    for program, patience in (("koid", 8), ("koid-worker", 9), ("koid-scout", 9)):
        began, before = time.monotonic(), lb1.kill(program, "STOP")
        lab.wait_until(lambda: lb1.pid(program) not in (None, before), patience, f"another {program}")
        lab.say(f"{program}: replaced after {time.monotonic() - began:.2f} s")
        lab.wait_until(lambda: lb1.role() == "master", 15, "lb1 leads")
        away = away or time.monotonic() - began
        lab.check(scout_is_nobody(lab, lb1) == "koi-scout", "the scout is koi-scout")
    lab.run_for(2)
    watch.end()
    owners.end()
    lab.check(owners.doubly <= AGREED, "never two owners")
    check_resumed(lab, lb2, away, lease=3.7)  # 5.7 s, less the two since its last advert
    lab.check(watch.failures == 0 or away >= 3.7, f"of {watch.probes} requests {watch.failures} were lost")
    lab.check(lb1.unit("NRestarts") == "1", "one restart, by the watchdog")


@story(timeout=90)
def story_unit_stopped_where_peers_are_impatient(lab):
    """With interval: 100ms a stopped koid is silenced by its lease and lb2 leads; the watchdog notices after a second."""
    lb1, lb2 = pair(lab, carp={"interval": "100ms"})
    lab.check(lb1.unit("WatchdogUSec") == "1s", f"the watchdog waits {lb1.unit('WatchdogUSec')}")
    owners = lab.owners(VIP, [lb1, lb2])
    began, before = time.monotonic(), lb1.kill("koid", "STOP")
    lab.wait_until(lambda: lb2.role() == "master", 3, "lb2 leads")
    lab.say(f"after {time.monotonic() - began:.2f} s")
    lab.wait_until(lambda: lb1.pid("koid") not in (None, before), 5, "another koid")
    lab.say(f"koid: replaced after {time.monotonic() - began:.2f} s")
    wait_for_master(lab, "lb1")
    owners.end()
    lab.check(owners.doubly <= AGREED, "never two owners")


@story(timeout=120)
def story_unit_never_gives_up(lab):
    """koid dies six times in a row, each time within seconds of its start: systemd starts it again each time, koid pauses
    longer and longer and says so, it leads again in the end, and a stop during the pause is a stop."""
    lb1, lb2 = pair(lab)
    record = Path(f"/proc/{lb1.leader}/root/run/koi/lives")

    def short_lives():
        try:
            return int(record.read_text().split()[3])
        except (OSError, IndexError):
            return -1

    before = short_lives()
    for death in range(6):
        lb1.kill("koid")
        lab.wait_until(lambda: short_lives() == death + 1, 20, f"another koid knows of {death + 1} short lives")
    lab.check(before == 0, "the first one knew of none")
    said = [entry["MESSAGE"] for entry in lb1.journal("short_lives")]
    lab.check([text.rsplit(" ", 2)[1] for text in said] == ["200", "400", "800"], f"it says how long it pauses: {said}")
    lab.check(lb1.unit("ActiveState") in ("activating", "active"), "it is not given up")
    lab.wait_until(lambda: lb1.role() == "master", 15, "and leads again in the end")
    lb1.sh("echo koi lives 1 100 $(cut -d. -f1 /proc/uptime)000000 >/run/koi/lives")
    lb1.kill("koid")
    lab.wait_until(lambda: "begins again" in lb1.unit("StatusText"), 10, "the pause is shown")
    lab.say(lb1.unit("StatusText"))
    lb1.systemctl("stop", "koi", timeout=5)
    lab.check(lb1.unit("ActiveState") == "inactive" and lb1.unit("Result") == "success", "asked to stop, it stops")


@story(timeout=60)
def story_unit_without_configuration(lab):
    """Started without a configuration: systemctl fails, the status is 78, nothing tries again, one sentence says what to do."""
    lb1 = lab.machine("lb1", koi=True)
    lab.check(lb1.systemctl("start", "koi", check=False).returncode != 0, "systemctl start fails")
    lab.run_for(1)
    lab.check((lb1.unit("ExecMainStatus"), lb1.unit("NRestarts"), lb1.unit("SubState")) == ("78", "0", "failed"), "78, once")
    said = lb1.run(["journalctl", "-q", "-o", "cat", "-u", "koi"]).stdout
    lab.check(said.count("there is no /etc/koi/koi.yaml; copy") == 1, "journalctl -u koi has the sentence, once")


@story(timeout=90)
def story_unit_after_a_koid_that_was_root(lab):
    """State of a koid that ran as root becomes koi's at the first start, and the node stays who it was."""
    lb1, lb2 = pair(lab)
    counter = "/var/lib/koi/counter"
    lab.wait_until(lambda: lb1.sh(f"test -s {counter}", check=False).returncode == 0, 5, "the counter is kept")
    sender = lb1.sh(f"grep sender {counter}").stdout
    lb1.systemctl("stop", "koi")
    lb1.sh("chown -R root:root /var/lib/koi; chmod 600 /var/lib/koi/counter")
    lb1.systemctl("start", "koi")
    wait_for_master(lab, "lb1")
    lab.check(lb1.sh(f"grep sender {counter}").stdout == sender, "the node is the same sender")
    lab.check(lb1.sh("find /var/lib/koi /run/koi ! -user koi").stdout == "", "everything is koi's")
    lab.check(not lb1.journal("memory"), "and nothing was to be said")


@story(timeout=90)
def story_unit_load_credential(lab):
    """Keys by LoadCredential=, with the path below /run/credentials in koi.yaml: root's files, which koid need not be able to
    read; new ones take a restart."""
    lb1, lb2 = lab.pair(carp={"key_file": "/run/credentials/koi.service/carp.key",
                              "auth_keys": {1: "/run/credentials/koi.service/auth.key"}})
    for machine in (lb1, lb2):
        machine.sh("chown root:root /etc/koi/keys /etc/koi/keys/*; chmod 700 /etc/koi/keys")
        machine.write("/etc/systemd/system/koi.service.d/keys.conf",
                      "[Service]\nLoadCredential=carp.key:/etc/koi/keys/carp.key\nLoadCredential=auth.key:/etc/koi/keys/auth.key\n")
        machine.systemctl("daemon-reload")
    lab.start(lb1, lb2)
    lab.wait_until(lambda: lb2.role() == "backup", 15, "lb2 believes lb1")
    lb1.systemctl("reload", "koi")
    lab.check(lab.master(VIP) == "lb1", "a reload reads them, too")
