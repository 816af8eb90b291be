"""The scene of stories about virtual servers: directors with koid, a client, backends, one file of backends.

    scene = Scene(lab, "nat")                       # services tcp4, udp4, tcp6, udp6 at port 80 of the two VIPs
    scene.list(red=3, green=1)                      # what the operator writes into the file
    scene.start()                                   # koid leads, holds the VIPs, the table is complete
    scene.ask("tcp4", 400)                          # Counter(red=300, green=100)

What koid is believed to have done is read from ipvsadm, which is somebody else's program; `scene.shown()` is what
koi says. Both are {"10.77.0.100:80/tcp": {"red": Row}} so that they can be compared.
"""

import json
from collections import namedtuple

import nodes
from processes import Failed

VIP4, VIP6 = "10.77.0.100", "fd77::64"
VIPS = {4: VIP4, 6: VIP6}
PORT = 80
FIRST_BACKEND = 21
FORWARDS = {"Masq": "nat", "Route": "dr", "Tunnel": "tun"}

Row = namedtuple("Row", "forward weight active inactive")


def spelled(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def witness(host, *options):
    """The virtual servers of a host as ipvsadm sees them: {service: {backend: Row}}."""
    table, service = {}, None
    for line in host.run(["ipvsadm", "-Ln", *options]).stdout.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] in ("TCP", "UDP", "SCTP"):
            service = f"{words[1]}/{words[0].lower()}"
            table[service] = {}
        elif words[0] == "FWM":
            service = f"fwmark {words[1]} {'ipv6' if words[2] == 'IPv6' else 'ipv4'}"
            table[service] = {}
        elif words[0] == "->" and service:
            table[service][words[1]] = Row(FORWARDS.get(words[2], words[2]), *(int(word) for word in words[3:6]))
    return table


class Scene:
    """See above.

    only        which of the four services there are
    service     told to all of them; `services` to one by its name; `pool` to both pools
    carp, more  merged over what is told to koid
    gateways    of NAT backends: the director itself by default
    """

    def __init__(self, lab, forward="nat", only=None, service=None, services=None, pool=None, names=("red", "green", "blue"),
                 directors=("lb",), carp=None, more=None, ports=(PORT,), gateways=None):
        self.lab, self.forward, self.names = lab, forward, names
        self.places = {f"{proto}{version}": (VIPS[version], PORT, proto) for version in (4, 6) for proto in ("tcp", "udp")
                       if only is None or f"{proto}{version}" in only}
        self.client = lab.host("client", number=1)
        wires = ("front",) if forward == "dr" else ("front", "back")
        self.directors = [lab.host(name, number=10 + n, wires=wires, forward=forward == "nat")
                          for n, name in enumerate(directors)]
        self.director = self.directors[0]
        self.ports = ports
        self.gateways = gateways or (self.director.address("back"), self.director.address("back", 6)) if forward == "nat" else ()
        self.backends = {name: self._backend(name, FIRST_BACKEND + n) for n, name in enumerate(names)}
        self.told = {
            "carp": {"interface": "eth0", "advbase": 0, "advskew": 20, **(carp or {})},
            "vips": [{"vhid": 51, "addresses": [VIP4 + "/24", VIP6 + "/64"]}],
            "services": [{"name": name, "at": spelled(vip, port) + "/" + proto, "pool": f"v{name[-1]}", "forward": forward,
                          "scheduler": "wrr", **(service or {}), **((services or {}).get(name) or {})}
                         for name, (vip, port, proto) in self.places.items()],
            "pools": {f"v{version}": {"source": {"file": f"{{dir}}/v{version}.backends"}, "drain": "60s", **(pool or {})}
                      for version in (4, 6)},
            **(more or {})}
        used = {one["pool"] for one in self.told["services"]}
        self.told["pools"] = {name: one for name, one in self.told["pools"].items() if name in used}

    def _backend(self, name, number):
        lab = self.lab
        if self.forward == "nat":
            # The way back is through the director.
            host = lab.host(name, number=number, wires="back", gateway=self.gateways)
            lab.backend(host, name, *((proto, port) for proto in ("tcp", "udp") for port in self.ports))
            return host
        host = lab.host(name, number=number, wires=("front",) if self.forward == "dr" else ("front", "back"))
        (host.accept_direct if self.forward == "dr" else host.accept_tunnel)(VIP4, VIP6)
        lab.backend(host, name, *(f"{proto}:{spelled(vip, port)}" for proto in ("tcp", "udp") for vip in VIPS.values()
                                  for port in self.ports))
        return host

    # What the operator does

    def real(self, name, version=4, port=PORT):
        """Where a backend really is: "10.78.0.21:80"."""
        return spelled(self.backends[name].address("front" if self.forward == "dr" else "back", version), port)

    def text(self, version, **weights):
        return "".join(f"{self.real(name, version)} {weight}\n" for name, weight in weights.items()) or "# none\n"

    def list(self, director=None, **weights):
        """The file of backends, for both families, of one or all directors, replaced in one step."""
        for host in [director] if director else self.directors:
            for version in (4, 6):
                path = host.folder / "koid" / f"v{version}.backends"
                path.parent.mkdir(exist_ok=True)
                beside = path.with_suffix(".new")
                beside.write_text(self.text(version, **weights))
                beside.rename(path)
        self.lab.say("the file says " + (", ".join(f"{name} {weight}" for name, weight in weights.items()) or "nothing"))

    def prepare(self, director):
        """What the operator has set on a director, and what a story needs: that a client's port, used a second time
        within minutes, is not taken for the connection it was before."""
        director.sysctl("net.ipv4.vs.expire_nodest_conn", 1)
        director.run("ipvsadm --set 900 1 1")

    def start(self, director=None, **more):
        """Starts koid and waits until it leads, holds both VIPs, and every service has its backends."""
        director = director or self.director
        self.prepare(director)
        koid = self.lab.koid(director, self.told, **more)
        koid.wait_ready()
        self.lab.wait_until(lambda: director.holds(VIP4) and director.holds(VIP6), 10, f"{director.name} holds the VIPs")
        return koid

    @property
    def koid(self):
        return self.director.koid

    # What is seen

    def ask(self, place, times, client=None, **more):
        vip, port, proto = self.places[place]
        return (client or self.client).ask(vip, port, times, proto, **more)

    def line(self, place, name, tries=20):
        """A long connection to the backend of this name."""
        vip, port, proto = self.places[place]
        for _ in range(tries):
            line = self.client.connect(vip, port, proto)
            answer = line.ask("hello")
            if answer == f"{name} hello":
                return line
            line.close()
        raise Failed(f"{tries} connections to {place} and none went to {name}; the last one said {answer}")

    def named(self, table):
        """The same table with backends by name."""
        names = {self.real(name, version): name for name in self.names for version in (4, 6)}
        return {service: {names.get(backend, backend): row for backend, row in rows.items()}
                for service, rows in table.items()}

    def witness(self, director=None):
        return self.named(witness(director or self.director))

    def shown(self, director=None):
        """What koid says stands in the kernel."""
        table = {}
        for one in nodes.status(director or self.director, "services")["services"]:
            if one["observed"]:
                table[one["at"]] = {
                    b["backend"]: Row(one["forward"].split()[0], b["observed_weight"], b["active_connections"],
                                      b["inactive_connections"])
                    for b in one["backends"] if b["observed_weight"] is not None}
        return self.named(table)

    def key(self, place):
        vip, port, proto = self.places[place]
        return f"{spelled(vip, port)}/{proto}"

    def weights(self, place, director=None, table=None):
        """{"red": 3, "green": 1}, or None if the service does not stand."""
        rows = (self.witness(director) if table is None else table).get(self.key(place))
        return None if rows is None else {name: row.weight for name, row in rows.items()}

    def wait_for_weights(self, expected, places=None, timeout=5, director=None):
        """Until all these services have exactly these backends; seconds it took."""
        def there():
            table = self.witness(director)
            return all(self.weights(place, table=table) == expected for place in places or self.places)
        return self.lab.wait_until(there, timeout, f"{', '.join(places or self.places)} have {expected}", every=0.05)

    def events(self, director=None):
        """What `koi events` tells, oldest first."""
        return [json.loads(line) for line in nodes.ask(director or self.director, "/v1/events").splitlines() if line.strip()]

    def wait_for_event(self, words, timeout=10, director=None, after=0):
        """Until `koi events` has a sentence with all these words; returns it."""
        found = []

        def there():
            found[:] = [event for event in self.events(director) if event["number"] > after
                        and all(word in event["sentence"] for word in words)]
            return found
        self.lab.wait_until(there, timeout, f"koi events tells of {words}", every=0.1)
        self.lab.say(f"event: {found[0]['sentence']}")
        return found[0]
