"""The lab of machines itself: what its words promise."""

from machines import story


@story(koi=False, timeout=120)
def story_machine_pristine(lab):
    """A pristine machine boots, runs commands, keeps files over a reboot and ends with the lab."""
    lb1 = lab.machine("lb1")
    lab.check(lb1.run(["systemctl", "is-system-running"], check=False).stdout.strip() == "running", "every unit has started")
    lb1.write("/etc/koi-story", "text\n", 0o640, "root:adm")
    lab.check(lb1.read("/etc/koi-story") == "text\n", "a file can be written and read")
    lab.check(lb1.sh("stat -c '%a %U:%G' /etc/koi-story").stdout.strip() == "640 root:adm", "with mode and owner")
    lab.check("10.77.0.1" in lb1.addresses("eth0") and "fd77::1" in lb1.addresses("eth0"), "it has its addresses")
    first = lb1.read("/proc/sys/kernel/random/boot_id"), lb1.sh("journalctl --list-boots -q | wc -l").stdout.strip()
    lb1.reboot()
    lab.check(lb1.read("/etc/koi-story") == "text\n", "a file outlives a reboot")
    lab.check(lb1.sh("journalctl --list-boots -q | wc -l").stdout.strip() == "2", f"its journal knows two boots, not {first[1]}")


