"""Who owns a key, and what the operator is told where that is wrong: under the unit, as user koi."""

import re

from machines import VIP, story

KEYS = "/etc/koi/keys"
CREDENTIALS = "/run/credentials/koi.service"


def remedies(machine):
    """The commands that the journal names since the last start, in its order, each once."""
    started = machine.unit("InvocationID")
    told = machine.run(["journalctl", "-q", "-o", "cat", f"_SYSTEMD_INVOCATION_ID={started}"]).stdout
    return list(dict.fromkeys(re.findall(r"; run: (.+)$", told, re.M)))


def fails_to_start(lab, machine):
    done = machine.systemctl("start", "koi", check=False)
    lab.check(done.returncode != 0 and machine.unit("ExecMainStatus") == "78", f"it does not start, exit 78: {done.stderr}")
    lab.check(machine.unit("NRestarts") == "0", "and is not tried again")


def leads(lab, machine):
    machine.run(["systemctl", "reset-failed", "koi"], check=False)
    machine.systemctl("start", "koi")
    lab.wait_until(lambda: lab.master(VIP) == machine.name, 20, f"{machine.name} leads")


@story(timeout=150)
def story_a_key_that_koid_may_not_use(lab):
    """A key of root's, one that the group koi can read, a closed folder: koid ends with 78 and names the command that mends it;
    typed as it stands, the node leads."""
    lb1, _ = lab.pair()
    for spoil in (f"chown root {KEYS}/carp.key", f"chgrp koi {KEYS}/auth.key; chmod 0440 {KEYS}/auth.key",
                  f"chown root {KEYS}/auth.key; chmod 0644 {KEYS}/auth.key", f"chmod 0700 {KEYS}"):
        lb1.sh(spoil)
        fails_to_start(lab, lb1)
        for _ in range(3):  # what is behind a closed folder is seen when it is open
            told = remedies(lb1)
            lab.say(f"{spoil}: {told}", "lb1")
            lab.check(told, f"a command is named after: {spoil}")
            for command in told:
                lb1.sh(command)
            if lb1.systemctl("start", "koi", check=False).returncode == 0:
                break
        leads(lab, lb1)
        lb1.systemctl("stop", "koi")
    lab.check(lb1.sh(f"stat -c '%U %a' {KEYS}/*.key").stdout.split("\n")[:2] == ["koi 400", "koi 400"], "all are koi's alone")


@story(timeout=120)
def story_keys_of_a_koid_that_was_root(lab):
    """An upgrade from 0.1.0 gives the keys that koi.yaml names to koi, once, and says so."""
    lb1, _ = lab.pair()
    lb1.sh(f"mv {KEYS}/*.key /etc/koi/; chown root:root /etc/koi/*.key; chmod 0600 /etc/koi/*.key; sed -i 's,{KEYS}/,/etc/koi/,' /etc/koi/koi.yaml")
    configure = "/var/lib/dpkg/info/koi.postinst configure "
    lab.check("carp.key" not in lb1.sh(configure + "0.2.0").stdout, "not at any later upgrade")
    done = lb1.sh(configure + "0.1.0")
    for name in ("carp.key", "auth.key"):
        lab.check(f"/etc/koi/{name}: belongs to koi now, and only koi can read it" in done.stdout, f"{name}: {done.stdout}{done.stderr}")
    leads(lab, lb1)


@story(timeout=120)
def story_keys_from_credentials(lab):
    """LoadCredential hands both keys to koid; a changed one counts after a restart, not after a reload, as the manual says."""
    lb1, _ = lab.pair()
    lb1.sh(f"mkdir -m 700 /srv/vault; mv {KEYS}/*.key /srv/vault/; chown root /srv/vault/*.key; sed -i 's,{KEYS}/,{CREDENTIALS}/,' /etc/koi/koi.yaml")
    lb1.write("/etc/systemd/system/koi.service.d/credentials.conf",
              "[Service]\n" + "".join(f"LoadCredential={name}:/srv/vault/{name}\n" for name in ("carp.key", "auth.key")))
    lb1.systemctl("daemon-reload")
    leads(lab, lb1)
    lab.say(lb1.sh(f"stat -c '%n %U %a' {CREDENTIALS}/*").stdout)
    lb1.sh("echo another-secret-of-this-pair-that-is-long-enough >/srv/vault/auth.key.new && mv /srv/vault/auth.key.new /srv/vault/auth.key")
    lab.check("has not changed" in lb1.run(["koi", "reload"]).stdout, "a reload sees the credential of the start")
    lb1.systemctl("restart", "koi")
    lab.wait_until(lambda: lb1.sh(f"cat {CREDENTIALS}/auth.key").stdout.startswith("another-secret"), 5, "a restart sees the new one")
    leads(lab, lb1)


@story(timeout=120)
def story_a_key_is_changed_by_reload(lab):
    """A new auth.key on both nodes, from keygen and copied as it says, and a reload on each: nobody stops leading or believing."""
    lb1, lb2 = lab.pair()
    lab.start(lb1, lb2)
    lab.wait_until(lambda: "stands by" in lb1.run(["koi", "show", "peers"]).stdout, 20, "lb2 stands by")
    before = lb1.read(f"{KEYS}/auth.key")
    told = lb1.run(["koi", "keygen", "--force"]).stdout
    lab.check("auth.key: replaced by a new one" in told and before != lb1.read(f"{KEYS}/auth.key"), told)
    for name in ("carp.key", "auth.key"):  # any way will do
        lb2.write(f"{KEYS}/{name}", lb1.read(f"{KEYS}/{name}"), 0o644)
    lab.check("belongs to koi now" in lb2.run(["koi", "keygen", "--adopt"]).stdout, "what was copied becomes koi's")
    watch, owners = lab.watch(VIP), lab.owners(VIP, [lb1, lb2])
    for machine in (lb2, lb1):
        lab.check("is applied" in machine.run(["koi", "reload"]).stdout, f"{machine.name} took the new keys")
    lab.run_for(5)
    watch.end()
    owners.end()
    lab.check(watch.failures == 0 and owners.doubly == 0, f"{watch.failures} of {watch.probes} pings lost, {owners.doubly} s with two owners")
    lab.check((lb1.role(), lb2.role()) == ("master", "backup"), "roles are as they were")


@story(timeout=90)
def story_plan_of_a_file_that_koid_cannot_see(lab):
    """koi plan -c reads a file in a home and one in /tmp, which the unit's koid does not see, as root and as a member of group
    koi; mistakes are named where they are; no key leaves the daemon."""
    lb1, _ = lab.pair()
    lab.start(lb1)
    lb1.sh("useradd -m -G koi ada")
    told = lb1.read("/etc/koi/koi.yaml")
    for path, user in (("/root/next.yaml", "root"), ("/tmp/next.yaml", "root"), ("/home/ada/next.yaml", "ada"), ("/tmp/ada.yaml", "ada")):
        plan = ["runuser", "-u", user, "--", "koi", "plan", "-c", path]
        lb1.write(path, told, 0o600, user)
        done = lb1.run(plan, check=False)
        lab.check((done.returncode, done.stdout, done.stderr) == (0, "no changes\n", ""), f"{path}: {done.stdout}{done.stderr}")
        lb1.write(path, told.replace('"advskew": 0', '"advskew": 7'), 0o600, user)
        done = lb1.run(plan, check=False)
        lab.check((done.returncode, done.stdout) == (2, "change advskew of vhid 51\n"), f"{path}: {done.stdout}{done.stderr}")
        lb1.write(path, told.replace('"advskew": 0', '"advskwe": 0'), 0o600, user)
        done = lb1.run(plan, check=False)
        lab.check(done.returncode == 1 and re.search(rf"^{path}:\d+:\d+  carp.advskwe: unknown key; did you mean", done.stderr, re.M),
                  f"{path}: {done.stderr}")
    lb1.write("/home/ada/next.yaml", told.replace("auth.key", "other.key"), 0o600, "ada")
    done = lb1.run(["runuser", "-u", "ada", "--", "koi", "plan", "-c", "/home/ada/next.yaml"], check=False)
    lab.check("other.key was not looked at and is taken as unchanged: only root may ask" in done.stderr, done.stderr)
