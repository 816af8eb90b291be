"""One container, from the command in the documentation to its end."""

import re
from pathlib import Path

from lab import story
from podman import command_of_the_documentation, configure, documented_lines, left_behind

VIP = "10.77.0.100"


@story(timeout=120)
def story_the_documented_command_leads_and_its_stop_leaves_nothing(lab):
    """`podman run` of the documentation leads, koi and the health check answer, `podman stop` leaves nothing on the host."""
    host = lab.host("lb1")
    configure(host, etc="/etc/koi")
    koi = lab.podman.start(host, typed=command_of_the_documentation())
    koi.wait_until_it_leads(VIP)

    lab.check(koi.exec("koi", "status").returncode == 0, "podman exec koi koi status answers")
    lab.check(koi.role() == "master", "and says master")
    lab.check(lab.podman.run("healthcheck", "run", "koi", check=False).returncode == 0, "the health check says healthy")
    said = koi.exec("ipvsadm", "-Ln", check=False)
    lab.check("IP Virtual Server" in said.stdout + said.stderr, "ipvsadm is there")
    lab.check(koi.inspect("{{.HostConfig.ReadonlyRootfs}}") == "true", "the root is read-only")
    lab.check(koi.exec("touch", "/usr/here", check=False).returncode != 0, "and nobody can write there")
    lab.check(left_behind(host, VIP) != [], "while it runs there is something that could stay")

    first = koi.logs()[0]
    if Path("/proc/net/ip_vs").exists():
        lab.check("lacks" not in first, f"nothing is missing, so nothing is said: {first}")
    else:
        lab.check("the host's kernel lacks ip_vs" in first and "modprobe ip_vs" in first, f"the first line says it: {first}")
        lab.check(sum("kernel lacks ip_vs" in line for line in koi.logs()) == 1, "once")
    lab.check(not any(re.match(r"<\d>", line) for line in koi.logs()), "no line begins with journald's priority")

    lab.check(koi.stop() == 0, "podman stop ends it with 0")
    lab.check(left_behind(host, VIP) == [], "no address, no table, no virtual server stays")


@story(timeout=120)
def story_a_killed_container_is_cleaned_up(lab):
    """What a killed container left goes with `--withdraw`, or belongs to the next one that starts."""
    host = lab.host("lb1")
    configure(host, advbase=3, advskew=0)  # a lease that outlives a look at it
    koi = lab.podman.start(host)
    koi.wait_until_it_leads(VIP, 25)
    koi.signal("KILL")
    lab.check(koi.exit_code() == 137, "it was killed")
    lab.check(left_behind(host, VIP) != [], "something stays")
    done = lab.podman.once(host, "--withdraw")
    lab.check(done.returncode == 0, f"podman run --rm … --withdraw ends with 0 and says: {done.stdout.strip()}")
    lab.check(left_behind(host, VIP) == [], "nothing stays")


@story(timeout=120)
def story_the_next_container_goes_on(lab):
    """A container that was killed and is started again has its address back, and its stop leaves nothing."""
    host = lab.host("lb1")
    configure(host)
    koi = lab.podman.start(host)
    koi.wait_until_it_leads(VIP)
    koi.signal("KILL")
    koi.exit_code()
    lab.podman.run("start", "koi", host=host)
    lab.wait_until(lambda: koi.role() == "master", 15, "it leads again")
    lab.check(host.holds(VIP), "and holds the address")
    koi.stop()
    lab.check(left_behind(host, VIP) == [], "nothing stays")


@story(timeout=90)
def story_without_a_configuration_it_says_what_to_do(lab):
    """Without a configuration: one sentence that says what to do, and exit code 78."""
    host = lab.host("lb1")
    configure(host)
    (host.folder / "etc/koi.yaml").unlink()
    done = lab.podman.once(host, check=False)
    said = (done.stdout + done.stderr).strip().splitlines()
    lab.check(done.returncode == 78, f"it ends with {done.returncode}")
    lab.check(len(said) == 1 and "/etc/koi/koi.yaml" in said[0] and "-v /etc/koi:/etc/koi:ro" in said[0], f"and says: {said}")
    (host.folder / "etc/koi.yaml").write_text("vips: [{vhid: 0}]\n")
    done = lab.podman.once(host, check=False)
    lab.check(done.returncode == 78 and "koi.yaml:1:" in done.stdout + done.stderr,
              f"with a bad one it names the place: {(done.stdout + done.stderr).strip()}")


@story(timeout=120)
def story_keys_made_in_a_container(lab):
    """`keygen --owner root` of the documentation makes keys with which koid leads, root without the right to read others' files."""
    host = lab.host("lb1")
    configure(host, etc="/etc/koi", key_file="/etc/koi/keys/carp.key", auth="require", auth_keys={"1": "/etc/koi/keys/auth.key"})
    for key in ("carp.key", "auth.key"):
        Path("/etc/koi", key).unlink()
    lab.podman.load()
    typed = [line for line in documented_lines() if line.startswith("podman run") and ("keygen" in line or line.endswith(" -t"))]
    lab.check(len(typed) == 2, "the documentation makes keys and tests the configuration")
    for line in typed:
        done = host.run(line, check=False)
        lab.check(done.returncode == 0, f"{line}: {(done.stdout + done.stderr).strip()}")
    koi = lab.podman.start(host, typed=command_of_the_documentation())
    koi.wait_until_it_leads(VIP)
    koi.stop()
