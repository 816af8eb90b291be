#include "ipvs/refusal.h"

namespace koi::ipvs {

namespace {

std::string plain(int code) {
    switch (code) {
        case EPERM:
            return "not permitted; virtual servers need CAP_NET_ADMIN in the initial user namespace (root, and not "
                   "the root "
                   "of a user namespace)";
        case ENOBUFS: return "the kernel's answers were lost because the receive buffer was full";
        case ETIMEDOUT: return "the kernel did not answer within 2 s";
        case ENODEV: return "the kernel has no IPVS; load it with: modprobe ip_vs";
        default: return std::strerror(code);
    }
}

std::string no_such_scheduler(const Service& s) {
    std::string out = "the kernel has no scheduler called " + s.scheduler;
    if (!s.persistence_engine.empty()) out += ", or no persistence engine called " + s.persistence_engine;
    if (!schedulers.contains(s.scheduler)) return out + "; known ones are rr, wrr, lc, wlc, sh, mh and others";
    out += "; load it with: modprobe ip_vs_" + s.scheduler;
    if (!s.persistence_engine.empty()) out += " ip_vs_pe_" + s.persistence_engine;
    return out;
}

std::string refused_service(const Service& s, int code) {
    if (code == ENOENT) return no_such_scheduler(s);
    if (code == ESRCH) return "there is no such service (any more)";
    if (code == EEXIST) return "there is such a service already";
    if (code == EINVAL) return "the kernel refuses these settings (" + text(s) + ")";
    if (code == EAFNOSUPPORT) return "the kernel has no IPv6, or ip_vs was built without it";
    return plain(code);
}

// EINVAL says nothing; what it can mean here is a short list.
std::string invalid_backend(const ServiceKey& service, const BackendKey& key, const Backend& b) {
    if (key.address.is_multicast() || key.address.is_unspecified())
        return key.address.text() + " is no address a backend can have";
    if (!key.address.is_v4() && key.address.is_link_local()) return "an IPv6 link-local address cannot be a backend";
    if (key.address.family() != family(service)) {
        if (b.forward != Forward::tun)
            return "service and backend are of different address families, which only tun can bridge";
        return "service and backend are of different address families, which the connection sync daemon excludes; "
               "stop it first";
    }
    if (b.forward == Forward::tun && b.tunnel == Tunnel::gue && b.tunnel_port == 0) return "gue needs a tunnel port";
    if (key.address.is_v4())
        return "the kernel refuses this address as a backend: it is a broadcast address, or this network namespace "
               "has no "
               "IPv4 address at all, not even 127.0.0.1 (then run: ip link set lo up)";
    return "the kernel refuses this address as a backend";
}

std::string refused_backend(const ServiceKey& service, const BackendKey& key, const Backend& b, int code) {
    if (code == EINVAL) return invalid_backend(service, key, b);
    if (code == ESRCH) return "there is no such service (any more)";
    if (code == ENOENT) return "the service has no such backend (any more)";
    if (code == EEXIST) return "the service has this backend already";
    if (code == ERANGE && b.lower_threshold > b.upper_threshold)
        return "the lower threshold (" + std::to_string(b.lower_threshold) + ") is above the upper one (" +
               std::to_string(b.upper_threshold) + ")";
    if (code == ERANGE) return "weight " + std::to_string(b.weight) + " is above the kernel's limit of 2147483647";
    return plain(code);
}

struct Reason {
    int code;
    std::string operator()(const AddService& c) const { return refused_service(c.service, code); }
    std::string operator()(const EditService& c) const { return refused_service(c.service, code); }
    std::string operator()(const RemoveService&) const { return refused_service({}, code); }
    std::string operator()(const AddBackend& c) const { return refused_backend(c.key, c.backend, c.value, code); }
    std::string operator()(const EditBackend& c) const { return refused_backend(c.key, c.backend, c.value, code); }
    std::string operator()(const RemoveBackend& c) const { return refused_backend(c.key, c.backend, {}, code); }
};

}  // namespace

Error refusal(const Change& change, int code) {
    return during(text(change), {std::visit(Reason{code}, change), code});
}

Error refusal(int code) { return {plain(code), code}; }

}  // namespace koi::ipvs
