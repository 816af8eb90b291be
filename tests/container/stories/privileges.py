"""As little as it needs, or as much as somebody gives."""

from lab import story
from podman import FIVE, configure, left_behind

VIP = "10.77.0.100"


def lead(lab, host, *options):
    koi = lab.podman.start(host, "koi", *options)
    koi.wait_until_it_leads(VIP)
    lab.wait_until(lambda: any(name == "koid-scout" for *_, name in koi.processes()), 10, "the scout runs")
    users = koi.exec("sh", "-c", "for p in /proc/[0-9]*; do grep -h -e ^Name: -e ^Uid: -e ^CapEff: $p/status; done").stdout
    scout = users[users.index("koid-scout"):].splitlines()
    lab.check("991" in scout[1], f"as a user of its own: {scout[1]}")
    lab.check(int(scout[2].split()[1], 16) == 0, f"without any capability: {scout[2]}")
    lab.check(koi.stop() == 0 and left_behind(host, VIP) == [], "its stop leaves nothing")
    lab.podman.run("rm", "-f", "koi")
    return koi


@story(timeout=120)
def story_five_capabilities_and_no_new_privileges(lab):
    """It leads with five capabilities, a read-only root and no-new-privileges; the scout has a user of its own and nothing."""
    host = lab.host("lb1")
    configure(host)
    lead(lab, host, "--cap-drop=all", f"--cap-add={FIVE}", "--security-opt=no-new-privileges")


@story(timeout=120)
def story_privileged(lab):
    """`--privileged` works, and the scout has nothing there either."""
    host = lab.host("lb1")
    configure(host)
    lead(lab, host, "--privileged")


@story(timeout=90)
def story_a_missing_capability_is_named(lab):
    """Where a capability is missing koid says which, and how to give it, and ends; newer podmans give no NET_RAW of themselves."""
    host = lab.host("lb1")
    configure(host)
    done = lab.podman.once(host, options=["--cap-drop=all", "--cap-add=NET_ADMIN,SETUID,SETGID,SETPCAP"], check=False)
    said = (done.stdout + done.stderr).strip()
    lab.check(done.returncode == 1 and "CAP_NET_RAW" in said and "--cap-add=NET_RAW" in said, f"it says: {said}")
    lab.check("CAP_NET_ADMIN" not in said and len(said.splitlines()) == 1, "no more, and once")
