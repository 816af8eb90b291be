"""The files that start the container for somebody: all of them say what the documented command says."""

import re
import shlex
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from lab import story
from podman import FIVE, IMAGE, Container, command_of_the_documentation, configure, documented_lines, left_behind

FOLDER = Path(__file__).resolve().parents[3] / "packaging/container"
VIP = "10.77.0.100"
QUADLET = Path("/usr/libexec/podman/quadlet")


def essentials(words):
    """What must be the same everywhere: network, root, capabilities, folders, health command."""
    told = {"volumes": set(), "caps": set()}
    words = iter(words)
    for word in words:
        name, _, value = word.partition("=")
        if name in ("-v", "--volume"):
            told["volumes"].add(value or next(words))
        elif name == "--cap-add":
            told["caps"] |= set(value.split(","))
        elif name in ("--network", "--cap-drop", "--health-cmd", "--read-only"):
            told[name] = value
    return told


def lines_of(file):
    return file.read_text().replace("\\\n", " ").splitlines()


@story(timeout=90)
def story_unit_quadlet_and_compose_say_what_the_command_says(lab):
    """Unit, quadlet and compose file give the container what the documented command gives it."""
    import yaml  # here, as whoever only wants a list of stories may not have it
    documented = essentials(shlex.split(command_of_the_documentation()))
    lab.check(documented["caps"] == set(FIVE.split(",")) and len(documented["volumes"]) == 3, "the command has five and three")

    unit = next(line for line in lines_of(FOLDER / "koi-container.service") if line.startswith("ExecStart="))
    lab.check(essentials(shlex.split(unit)) == documented, "the unit")

    quadlet = {}
    for line in lines_of(FOLDER / "koi.container"):
        name, _, value = line.partition("=")
        quadlet.setdefault(name, []).append(value)
    lab.check(set(quadlet["Volume"]) == documented["volumes"] and set(quadlet["AddCapability"][0].split()) == documented["caps"]
              and quadlet["Network"] == [documented["--network"]] and quadlet["DropCapability"] == ["all"]
              and quadlet["Image"] == [IMAGE] and quadlet["Pull"] == ["never"] and quadlet["ReadOnly"] == ["true"] and quadlet["HealthCmd"] == [documented["--health-cmd"]], "the quadlet")

    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["koi"]
    lab.check(set(compose["volumes"]) == documented["volumes"] and set(compose["cap_add"]) == documented["caps"]
              and compose["cap_drop"] == ["ALL"] and compose["network_mode"] == "host" and compose["read_only"] is True
              and compose["healthcheck"]["test"] == ["CMD", *documented["--health-cmd"].split()], "the compose file")
    lab.check(compose["image"] == IMAGE and compose["pull_policy"] == "never", "which asks no registry for it")


@story(timeout=30)
def story_no_registry_is_asked_for_the_image(lab):
    """Every command that runs a container names the image whole, and forbids to fetch one of that name from elsewhere."""
    commands = [line for line in documented_lines() + lines_of(FOLDER / "koi-container.service")
                if re.match(r"(ExecStart=/usr/bin/)?podman run", line)]
    lab.check(len(commands) == 6, "the documentation and the unit run it")
    for line in commands:
        words = shlex.split(line)
        lab.check(IMAGE in words and "--pull=never" in words[:words.index(IMAGE)], line)


@story(timeout=90)
def story_systemd_takes_the_units(lab):
    """systemd-analyze verify finds nothing to say about the unit, nor about what a quadlet generator makes of koi.container."""
    if shutil.which("systemd-analyze") is None:
        return lab.say("there is no systemd-analyze here")
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder) / "koi-container.service"
        # Pages and programs that are not installed here are no fault of the unit; whether it is one is.
        unit.write_text((FOLDER / unit.name).read_text().replace("/sbin/modprobe", "/bin/true"))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
        lab.check(done.returncode == 0 and not done.stderr.strip(), f"the unit {done.stderr.strip()}")
        if QUADLET.exists():
            shutil.copy(FOLDER / "koi.container", folder)
            made = subprocess.run([QUADLET, "-dryrun"], capture_output=True, text=True, env={"QUADLET_UNIT_DIRS": folder})
            lab.check(made.returncode == 0 and "podman run" in made.stdout, f"the quadlet {made.stderr.strip()}")
        else:
            lab.say("this podman has no quadlet generator (it comes with 4.4)")


def of_unit(key):
    line = next(line for line in lines_of(FOLDER / "koi-container.service") if line.startswith(key + "="))
    return shlex.split(line.partition("=")[2])


@story(timeout=120)
def story_the_units_commands_start_and_stop_it(lab):
    """ExecStart, ExecReload and ExecStop of the unit, typed by a service manager that listens: READY, reload, a clean end, 78."""
    host = lab.host("lb1")
    configure(host, etc="/etc/koi")
    told = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(host.folder / "notify"))
        ear.setblocking(False)

        def heard(word):
            try:
                while True:
                    told.extend(ear.recv(4096).decode().splitlines())
            except BlockingIOError:
                return any(line.startswith(word) for line in told)

        lab.podman.load()
        lab.podman.names.append("koi")
        manager = {"NOTIFY_SOCKET": str(host.folder / "notify")}
        unit = host.start(of_unit("ExecStart"), "unit", environment=manager)
        lab.wait_until(lambda: heard("READY=1") or not unit.alive(), 20, "READY=1 is heard")
        lab.check(heard("MAINPID="), "and whom to watch")
        Container(lab.podman, host, "koi").wait_until_it_leads(VIP)
        lab.check("role: vhid 51 is master now" in unit.text(), "its lines arrive as they are")
        lab.check(host.run(of_unit("ExecReload")).returncode == 0, "ExecReload reloads")
        host.run(of_unit("ExecStop"))
        lab.check(unit.wait() == 0, "ExecStop ends it with 0")
        lab.check(left_behind(host, VIP) == [], "nothing stays")
        lab.check(lab.podman.run("ps", "-aq").stdout == "", "no container either")

        Path("/etc/koi/koi.yaml").unlink()
        lab.check(host.start(of_unit("ExecStart"), "unit", environment=manager).wait() == 78,
                  "without a configuration it ends with 78, which RestartPreventExitStatus= knows")
