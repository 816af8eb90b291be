"""The unit as it is shipped, run by systemd itself: who its processes are, what happens when they hang or die, and what an
operator meets who has not configured anything, or comes from a koid that ran as root."""

import time
from pathlib import Path

from deeds import about, scout_is_nobody, user
from machines import VIP, story
from nodes import wait_for_master

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


AGREED = 0.02  # seconds: while one hands over to the other by agreement, both answer


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
    scout_is_nobody(lab, lb1)
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
        lab.wait_until(lambda: short_lives() >= death + 1, 20, f"another koid knows of {death + 1} short lives")
        lab.check(short_lives() == death + 1 and lb1.unit("NRestarts") == str(death + 1),
                  f"koid died as often as it was killed: {short_lives()} short lives, {lb1.unit('NRestarts')} restarts")
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
