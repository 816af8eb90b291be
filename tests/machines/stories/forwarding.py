"""Virtual servers under systemd: told on a kernel that has ip_vs, which may be an emulated one, where everything takes its time."""

from koi import causes_are_told
from machines import VIP, story

GATEWAY = "10.78.0.254"  # what backends answer through: it moves with the VIP
SERVES = {"vips": [{"vhid": 51, "addresses": [f"{VIP}/24"]},
                   {"vhid": 52, "interface": "eth1", "addresses": [f"{GATEWAY}/24"]}],
          "services": [{"name": "web", "at": f"{VIP}:80/tcp", "pool": "web", "scheduler": "wrr", "forward": "nat"}],
          "pools": {"web": {"source": {"static": ["10.78.0.31:80", "10.78.0.32:80"]}}}}


def table(machine):
    """`ipvsadm -Ln`, without its head."""
    return machine.run(["ipvsadm", "-Ln"]).stdout.splitlines()[3:]


@story(needs={"ip_vs"}, timeout=1200, slow=True)
def story_virtual_servers_on_two_machines(lab):
    """A pair forwards to two backends: the virtual server is on the master alone, a request to the VIP is served, after a switch
    by the other one, and a removed package leaves an empty table."""
    for number, name in ((31, "red"), (32, "blue")):
        lab.backend(lab.host(name, number, wires="back", gateway=GATEWAY), name)
    lb1, lb2 = lab.pair(**SERVES)
    for machine in (lb1, lb2):
        machine.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
    lab.start(lb1, lb2, timeout=30)
    lab.wait_until(lambda: lb2.role(51) == lb2.role(52) == "backup", 20, "lb2 listens")

    def serves(leader, other):
        lab.wait_until(lambda: lab.master(VIP) == lab.master(GATEWAY) == leader.name, 20, f"{leader.name} holds both vips")
        lab.wait_until(lambda: f"TCP  {VIP}:80 wrr" in table(leader), 10, f"{leader.name} has the virtual server")
        answers = lab.client.ask(VIP, 80, 6)
        lab.check(answers == {"red": 3, "blue": 3}, f"served through the VIP on {leader.name}: {dict(answers)}")
        lab.wait_until(lambda: not table(other), 10, f"{other.name} has none")

    serves(lb1, lb2)
    for vhid in ("51", "52"):
        lb1.run(["koi", "step-down", vhid])
    serves(lb2, lb1)
    for vhid in ("51", "52"):
        lb1.run(["koi", "step-up", vhid])
    serves(lb1, lb2)
    lb1.apt_remove("koi")
    serves_alone = lambda: lab.master(VIP) == lab.master(GATEWAY) == "lb2"  # noqa: E731
    lab.wait_until(serves_alone, 20, "lb2 leads when the package is removed from lb1")
    lab.check(not table(lb1), "ipvsadm -Ln is empty on lb1")
    lab.check(not lb1.run(["nft", "list", "ruleset"]).stdout.strip(), "and so is nft list ruleset")
    answers = lab.client.ask(VIP, 80, 6)
    lab.check(answers == {"red": 3, "blue": 3}, f"lb2 serves: {dict(answers)}")
    causes_are_told(lab, lb2)
