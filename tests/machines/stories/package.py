"""The package's own life on a machine: what apt does to it, what it leaves behind, and what restarts it or does not."""

import re
import tarfile
import time
from pathlib import Path

from koi import wait_for_standby
from machines import VIP, VIP_6, story
from processes import Failed

TREE = Path(__file__).resolve().parents[3]
TESTS = re.search(r"^Tests: (.*)$", (TREE / "packaging/debian/tests/control").read_text(), re.M)[1].split(", ")
# dpkg-deb -R, one word of its control file, dpkg-deb -b: the same package under another version.
REVERSION = "dpkg-deb -R {deb} t && sed -i 's/^Version: .*/Version: {version}/' t/DEBIAN/control && dpkg-deb -b t {new}"


def deb_of(lab):
    """The package koi itself, as it lies in the machines' repository."""
    return next(f"/repo/{deb.name}" for deb in lab.debs if deb.name.startswith("koi_"))


def state(machine):
    """What dpkg says of koi: "installed", "config-files", "half-configured", "" …"""
    return machine.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", "koi"], check=False).stdout


def enabled(machine):
    return machine.run(["systemctl", "is-enabled", "koi"], check=False).stdout.strip()


def nothing_in_the_kernel(lab, machine):
    addresses = machine.run(["ip", "-o", "address", "show"]).stdout
    lab.check(not [vip for vip in (VIP, VIP_6) if f" {vip}/" in addresses], f"{machine.name}: `ip address` shows no vip")
    lab.check(machine.run(["nft", "list", "ruleset"]).stdout == "", f"{machine.name}: `nft list ruleset` is empty")
    if Path("/proc/net/ip_vs").exists():
        lab.check(machine.run(["ipvsadm", "-Sn"]).stdout == "", f"{machine.name}: `ipvsadm -Ln` has no entry")
    lab.check(not [name for name in ("koid", "koid-worker", "koid-scout") if machine.pids(name)], f"{machine.name}: no process runs")
    lab.check(not machine.run("ls -A /run | grep -i koi", check=False).stdout, f"{machine.name}: nothing below /run")


def stop_took(machine):
    """Seconds from the order to the end of the unit's last stop, as systemd tells. One that just starts is stopped without a word
    at the beginning."""
    order = end = 0.0
    for entry in machine.journal():
        said, when = str(entry.get("MESSAGE", "")), int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
        if said.startswith(("Starting ", "Stopping ")):
            order = when
        elif said.startswith("Stopped "):
            end = when
    return end - order


def another_version(lab, machine, version):
    """A package of the same programs, newer or older; its path in the machine."""
    new = f"/root/koi_{version}.deb"
    machine.sh(REVERSION.format(deb=deb_of(lab), version=version, new=new) + "; rm -rf t")
    return new


@story(timeout=240)
def story_installed_it_waits_for_its_operator(lab):
    """Installed, it is neither enabled nor started, its folders have the right owners, and apt ends cleanly on a host where the
    unit is masked."""
    fresh, masked = lab._machines(["fresh", "masked"], None, False)
    fresh.apt_install(*lab.debs)
    lab.check(enabled(fresh) == "disabled" and fresh.unit("ActiveState") == "inactive", "disabled and stopped")
    modes = fresh.run(["stat", "-c", "%n %a %U:%G", "/etc/koi", "/etc/koi/keys"]).stdout.splitlines()
    lab.check(modes == ["/etc/koi 755 root:root", "/etc/koi/keys 750 root:koi"], f"folders: {', '.join(modes)}")
    fresh.reboot()
    lab.check(fresh.unit("ActiveState") == "inactive", "and so after a reboot")

    masked.run(["systemctl", "mask", "koi"])
    masked.apt_install(*lab.debs)
    lab.check(state(masked) == "installed" and enabled(masked) == "masked", "installed where the unit is masked, which it stays")
    masked.apt("install", "--reinstall", "koi")
    masked.apt_remove("koi", purge=True)
    lab.check(enabled(masked) in ("masked", "masked-runtime", ""), "removed there, too")
    nothing_in_the_kernel(lab, masked)


@story(timeout=300)
def story_removed_it_hands_over_and_leaves_nothing(lab):
    """The master's package is removed: the standby takes over, no request is lost, and nothing of Koi is left in the kernel;
    purge takes the state, and what the operator wrote stays."""
    lb1, lb2 = lab.pair()
    for machine in (lb1, lb2):
        machine.systemctl("enable", "koi")
    lab.start(lb1, lb2)
    wait_for_standby(lab, lb1)
    watches = [lab.watch(vip, timeout_ms=1000) for vip in (VIP, VIP_6)]
    lab.run_for(0.5)
    lb1.apt_remove("koi")
    lab.wait_until(lambda: lab.master(VIP) == "lb2" and lab.master(VIP_6) == "lb2", 10, "lb2 leads")
    lab.run_for(1)
    for watch in watches:
        watch.end()
        lab.check(watch.failures == 0, f"{watch.failures} of {watch.probes} requests lost")
    nothing_in_the_kernel(lab, lb1)
    lab.check("leaving" in str(lb2.journal("role")) or lb2.role() == "master", "lb2 was told")
    lab.check(lb1.run("ls -d /etc/koi/koi.yaml /etc/koi/keys/carp.key /var/lib/koi", check=False).returncode == 0,
              "configuration, keys and state stay for a purge or for another installation")
    lb1.apt_remove("koi", purge=True)
    lab.check(lb1.run("ls -d /var/lib/koi", check=False).returncode != 0, "purge takes the state")
    lab.check(lb1.run("ls /etc/koi/koi.yaml /etc/koi/keys/carp.key", check=False).returncode == 0, "not what the operator wrote")
    found = lb1.run("find /etc /usr /run /var/lib -xdev -name '*koi*' ! -name 'koi8*' ! -path '/etc/koi*'").stdout
    lab.check(found == "", f"nothing else has its name: {found!r}")

    # Without anything of the operator's, the folders go as well.
    lb1.apt_install(*lab.debs)
    lb1.sh("rm -r /etc/koi/*")
    lb1.apt_remove("koi", purge=True)
    lab.check(lb1.run("ls -d /etc/koi", check=False).returncode != 0, "an empty /etc/koi goes with the purge")


@story(timeout=300)
def story_removed_while_parts_of_it_hang(lab):
    """The worker hangs, then the speaker hangs, then nothing runs: a removal ends in time and leaves nothing in the kernel."""
    lb1 = lab.pair(names=("lb1",))[0]
    for hung in ("koid-worker", "koid", None):
        lab.start(lb1)
        if hung:
            lb1.kill(hung, "STOP")
        else:
            lb1.systemctl("stop", "koi")
        began = time.monotonic()
        lb1.apt_remove("koi")
        nothing_in_the_kernel(lab, lb1)
        # TimeoutStopSec; what else apt does takes as long as this machine wants.
        lab.within(stop_took(lb1), 10, began, f"removed while {hung or 'nothing'} {'hung' if hung else 'ran'}, its stop took")
        lb1.apt_install(*lab.debs)
        lab.check(lb1.unit("ActiveState") != "active", "installed again, it is stopped")
        lb1.systemctl("reset-failed", "koi", check=False)


@story(needs={"ip_vs"}, timeout=600)
def story_removed_with_virtual_servers_it_leaves_none(lab):
    """With virtual servers: removed while it leads, and removed while its worker hangs, `ipvsadm -Ln` is empty; a virtual server
    of somebody else stays."""
    lb1 = lab.pair(names=("lb1",), services=[{"name": "web", "at": f"{VIP}:80/tcp", "pool": "web", "forward": "dr"},
                                             {"name": "web6", "at": f"[{VIP_6}]:80/tcp", "pool": "web6", "forward": "dr"}],
                   pools={"web": {"source": {"static": ["192.0.2.99:80"]}},
                          "web6": {"source": {"static": ["[2001:db8::99]:80"]}}})[0]
    table = lambda: lb1.run(["ipvsadm", "-Sn"]).stdout  # noqa: E731
    for hung in (False, True):
        lab.start(lb1, timeout=60)
        lab.wait_until(lambda: f"{VIP}:80" in table() and VIP_6 in table(), 60, "the virtual servers are there")
        if hung:
            lb1.run(["ipvsadm", "-A", "-t", "198.51.100.7:443", "-s", "rr"])
            lb1.kill("koid-worker", "STOP")
        lb1.apt_remove("koi")
        lab.check(table().strip() == ("-A -t 198.51.100.7:443 -s rr" if hung else ""), f"what is left: {table()!r}")
        lb1.apt_install(*lab.debs)
        lb1.systemctl("reset-failed", "koi", check=False)


@story(timeout=240)
def story_needrestart_moves_no_address(lab):
    """A library that Koi uses is replaced. `needrestart -r a`, which restarts what runs with the old one, leaves koi alone and
    names it; without its snippet it would restart it."""
    lb1 = lab.pair(names=("lb1",))[0]
    lab.start(lb1)
    lb1.sh("lib=$(ls /usr/lib/*/libnl-3.so.200.*); cp -p $lib $lib.new && mv $lib.new $lib")
    before, roles = lb1.pid("koid"), len(lb1.journal("role"))
    restart = lambda: lb1.run(["needrestart", "-r", "a", "-l"], timeout=120, environment={"DEBIAN_FRONTEND": "noninteractive"}).stdout  # noqa: E731
    said = restart()
    lab.say(said)
    lab.check("koi.service" in said, "koi is named")
    lab.check(lb1.pid("koid") == before and len(lb1.journal("role")) == roles and lb1.role() == "master",
              "0 role changes, the same process")
    lb1.run(["rm", "/etc/needrestart/conf.d/koi.conf"])
    restart()
    lab.wait_until(lambda: lb1.pid("koid") not in (None, before), 20, "without the snippet another koid runs")


@story(timeout=300)
def story_an_upgrade_leaves_stopped_what_is_stopped(lab):
    """Newer and older packages over an installed one: disabled stays disabled, stopped stays stopped, and enabled stays enabled;
    so it goes with an interrupted installation, which apt mends or removes."""
    host = lab.machine("host", koi=True)
    newer, older = another_version(lab, host, "99.1"), another_version(lab, host, "0.0.1")

    def over(deb, was, what):
        host.run(["apt-get", "-q", "-y", "--allow-downgrades", "install", deb], timeout=120, environment={"DEBIAN_FRONTEND": "noninteractive"})
        lab.check((enabled(host), host.unit("ActiveState")) == (was, "inactive"), f"{what}: it is {was} and stopped")

    over(newer, "disabled", "a newer one over a disabled one")
    over(older, "disabled", "an older one")
    host.systemctl("enable", "koi")
    over(newer, "enabled", "a newer one over an enabled one")
    host.run(["systemctl", "mask", "koi"])
    over(older, "masked", "an older one over a masked one")
    host.run(["systemctl", "unmask", "koi"])

    # The machine lost power between unpacking and configuring.
    host.run(["dpkg", "--unpack", newer])
    lab.check(state(host) == "unpacked", "unpacked, not configured")
    host.run(["dpkg", "--configure", "-a"])
    lab.check(state(host) == "installed", "dpkg --configure -a ends it")
    # Configuring fails: no user can be made.
    host.sh("mount --bind /bin/false /usr/bin/systemd-sysusers")
    failed = host.run(["dpkg", "-i", older], check=False)
    lab.check(failed.returncode != 0 and state(host) == "half-configured", "half-configured, where no user can be made")
    host.run(["umount", "/usr/bin/systemd-sysusers"])
    host.apt("install", "-f")
    lab.check(state(host) == "installed", "apt-get install -f mends it")
    host.run(["dpkg", "--unpack", newer])
    host.apt_remove("koi", purge=True)
    lab.check(state(host) in ("", "not-installed"), "a half-installed one is purged")
    nothing_in_the_kernel(lab, host)


@story(timeout=900, packages=("autopkgtest", "bash-completion", "dpkg-dev", "mandoc"))
def story_autopkgtests(lab):
    """The tests that are shipped in debian/tests, run by autopkgtest inside a machine."""
    host = lab.machine("host")
    archive = lab.folder / "tree.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(TREE / "packaging/debian", "tree/debian", filter=lambda one: None if one.issym() else one)
    host.put(archive, "/root/tree.tar")
    host.apt("update")
    done = host.run("tar -xf tree.tar && autopkgtest -B ./tree/ -o /root/results -- null", check=False, timeout=850)
    summary = host.run("cat /root/results/summary", check=False).stdout
    for line in summary.splitlines():
        lab.say(line)
    passed = [line.split()[0] for line in summary.splitlines() if re.fullmatch(r"\S+\s+PASS", line.strip())]
    if done.returncode or sorted(passed) != sorted(TESTS):
        raise Failed(f"autopkgtest ended with {done.returncode}; passed: {', '.join(passed) or 'none'}\n{(done.stdout + done.stderr)[-6000:]}")
    lab.check(len(passed) >= 6, f"{len(passed)} tests passed")
