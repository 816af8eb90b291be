#include "supervisor/vip/lease.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_arp.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <utility>

namespace koi::vip {

namespace {

constexpr const char* table_name = "koi";
constexpr std::int32_t before_all = -310;              // before connection tracking and everything that might answer
constexpr std::uint32_t ipv4_type = 7, ipv6_type = 8;  // nft's names for what a set holds; for `nft list` only

// ---- One transaction: messages between a begin and an end ----

class Batch {
public:
    explicit Batch(std::uint32_t first_sequence) : sequence_(first_sequence), room_(2 * most) {
        batch_ = mnl_nlmsg_batch_start(room_.data(), most);
        nftnl_batch_begin(place(), sequence_++);
        mnl_nlmsg_batch_next(batch_);
    }
    ~Batch() { mnl_nlmsg_batch_stop(batch_); }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    void put(std::uint16_t type, std::uint16_t family, std::uint16_t flags,
             const std::function<void(nlmsghdr*)>& payload) {
        last_ = nftnl_nlmsg_build_hdr(place(), type, family, flags, sequence_++);
        payload(last_);
        full_ |= !mnl_nlmsg_batch_next(batch_);
    }

    // The kernel answers errors in any case; the last message asks for an answer, too.
    std::span<const std::uint8_t> finish() {
        if (last_) last_->nlmsg_flags |= NLM_F_ACK;
        last_sequence_ = sequence_ - 1;
        nftnl_batch_end(place(), sequence_++);
        full_ |= !mnl_nlmsg_batch_next(batch_);
        return {static_cast<const std::uint8_t*>(mnl_nlmsg_batch_head(batch_)), mnl_nlmsg_batch_size(batch_)};
    }
    bool is_full() const { return full_; }
    std::uint32_t next_sequence() const { return sequence_; }
    std::uint32_t last_sequence() const { return last_sequence_; }

private:
    // 255 vhids may have many vips; one transaction of 2,000 takes a quarter of this.
    static constexpr std::size_t most = 1 << 20;
    char* place() { return static_cast<char*>(mnl_nlmsg_batch_current(batch_)); }

    std::uint32_t sequence_, last_sequence_ = 0;
    std::vector<char> room_;
    mnl_nlmsg_batch* batch_;
    nlmsghdr* last_ = nullptr;
    bool full_ = false;
};

template <class T, void (*free)(const T*)>
struct Free {
    void operator()(T* one) const noexcept { free(one); }
};
using Table = std::unique_ptr<nftnl_table, Free<nftnl_table, nftnl_table_free>>;
using Chain = std::unique_ptr<nftnl_chain, Free<nftnl_chain, nftnl_chain_free>>;
using Set = std::unique_ptr<nftnl_set, Free<nftnl_set, nftnl_set_free>>;
using Rule = std::unique_ptr<nftnl_rule, Free<nftnl_rule, nftnl_rule_free>>;

// ---- The rules ----

constexpr std::uint32_t reg = NFT_REG_1;

struct Written {
    Rule rule{nftnl_rule_alloc()};

    Written(std::uint16_t family, const char* chain) {
        nftnl_rule_set_u32(rule.get(), NFTNL_RULE_FAMILY, family);
        nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, table_name);
        nftnl_rule_set_str(rule.get(), NFTNL_RULE_CHAIN, chain);
    }
    Written& meta(std::uint32_t key) {
        nftnl_expr* load = nftnl_expr_alloc("meta");
        nftnl_expr_set_u32(load, NFTNL_EXPR_META_KEY, key);
        nftnl_expr_set_u32(load, NFTNL_EXPR_META_DREG, reg);
        nftnl_rule_add_expr(rule.get(), load);
        return *this;
    }
    template <class Value>
    Written& compare(std::uint32_t how, Value value) {
        nftnl_expr* compare = nftnl_expr_alloc("cmp");
        nftnl_expr_set_u32(compare, NFTNL_EXPR_CMP_SREG, reg);
        nftnl_expr_set_u32(compare, NFTNL_EXPR_CMP_OP, how);
        nftnl_expr_set(compare, NFTNL_EXPR_CMP_DATA, &value, sizeof value);
        nftnl_rule_add_expr(rule.get(), compare);
        return *this;
    }
    Written& is(std::uint8_t value) { return compare(NFT_CMP_EQ, value); }
    Written& is_not(std::uint32_t value) { return compare(NFT_CMP_NEQ, value); }
    Written& load(std::uint32_t base, std::uint32_t offset, std::uint32_t length) {
        nftnl_expr* payload = nftnl_expr_alloc("payload");
        nftnl_expr_set_u32(payload, NFTNL_EXPR_PAYLOAD_BASE, base);
        nftnl_expr_set_u32(payload, NFTNL_EXPR_PAYLOAD_DREG, reg);
        nftnl_expr_set_u32(payload, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
        nftnl_expr_set_u32(payload, NFTNL_EXPR_PAYLOAD_LEN, length);
        nftnl_rule_add_expr(rule.get(), payload);
        return *this;
    }
    Written& in(const char* set, bool inverted) {
        nftnl_expr* lookup = nftnl_expr_alloc("lookup");
        nftnl_expr_set_u32(lookup, NFTNL_EXPR_LOOKUP_SREG, reg);
        nftnl_expr_set_str(lookup, NFTNL_EXPR_LOOKUP_SET, set);
        if (inverted) nftnl_expr_set_u32(lookup, NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
        nftnl_rule_add_expr(rule.get(), lookup);
        return *this;
    }
    // The address at this place is held and not leased: drop.
    Written& silent(std::uint32_t base, std::uint32_t offset, Family family) {
        const bool v4 = family == Family::ipv4;
        load(base, offset, v4 ? 4 : 16).in(v4 ? "held4" : "held6", false).in(v4 ? "leased4" : "leased6", true);
        nftnl_expr* verdict = nftnl_expr_alloc("immediate");
        nftnl_expr_set_u32(verdict, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
        nftnl_expr_set_u32(verdict, NFTNL_EXPR_IMM_VERDICT, NF_DROP);
        nftnl_rule_add_expr(rule.get(), verdict);
        return *this;
    }
};

constexpr std::uint32_t network = NFT_PAYLOAD_NETWORK_HEADER, transport = NFT_PAYLOAD_TRANSPORT_HEADER;
constexpr std::uint8_t neighbour_solicitation = 135;

std::vector<Written> inet_rules() {
    constexpr std::uint32_t loopback = 1;  // LOOPBACK_IFINDEX, in every network namespace
    const auto rule = [](const std::string& chain, std::uint8_t protocol) {
        const bool comes_in = chain == "incoming";
        return std::move(Written(NFPROTO_INET, chain.c_str())
                             .meta(NFT_META_NFPROTO)
                             .is(protocol)
                             .meta(comes_in ? NFT_META_IIF : NFT_META_OIF)
                             .is_not(loopback));
    };
    std::vector<Written> rules;
    rules.push_back(std::move(rule("incoming", NFPROTO_IPV4).silent(network, 16, Family::ipv4)));
    rules.push_back(std::move(rule("incoming", NFPROTO_IPV6).silent(network, 24, Family::ipv6)));
    rules.push_back(std::move(rule("incoming", NFPROTO_IPV6)
                                  .meta(NFT_META_L4PROTO)
                                  .is(IPPROTO_ICMPV6)
                                  .load(transport, 0, 1)
                                  .is(neighbour_solicitation)
                                  .silent(transport, 8, Family::ipv6)));
    rules.push_back(std::move(rule("outgoing", NFPROTO_IPV4).silent(network, 12, Family::ipv4)));
    rules.push_back(std::move(rule("outgoing", NFPROTO_IPV6).silent(network, 8, Family::ipv6)));
    return rules;
}

// ARP over Ethernet: sender's address at 14, target's at 24.
std::vector<Written> arp_rules() {
    std::vector<Written> rules;
    rules.push_back(std::move(Written(NFPROTO_ARP, "incoming").silent(network, 24, Family::ipv4)));
    rules.push_back(std::move(Written(NFPROTO_ARP, "outgoing").silent(network, 14, Family::ipv4)));
    return rules;
}

// ---- What is put into a transaction ----

void put_table(Batch& batch, std::uint16_t family, std::uint16_t type, std::uint16_t flags) {
    Table table(nftnl_table_alloc());
    nftnl_table_set_u32(table.get(), NFTNL_TABLE_FAMILY, family);
    nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, table_name);
    batch.put(type, family, flags, [&](nlmsghdr* m) { nftnl_table_nlmsg_build_payload(m, table.get()); });
}

void put_chain(Batch& batch, std::uint16_t family, const char* name, std::uint32_t hook, std::int32_t priority) {
    Chain chain(nftnl_chain_alloc());
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TABLE, table_name);
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_NAME, name);
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TYPE, "filter");
    nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_HOOKNUM, hook);
    nftnl_chain_set_s32(chain.get(), NFTNL_CHAIN_PRIO, priority);
    nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
    batch.put(NFT_MSG_NEWCHAIN, family, NLM_F_CREATE,
              [&](nlmsghdr* m) { nftnl_chain_nlmsg_build_payload(m, chain.get()); });
}

void put_set(Batch& batch, std::uint16_t family, const char* name, bool v4, bool times_out, std::uint32_t id) {
    Set set(nftnl_set_alloc());
    nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table_name);
    nftnl_set_set_str(set.get(), NFTNL_SET_NAME, name);
    nftnl_set_set_u32(set.get(), NFTNL_SET_FAMILY, family);
    nftnl_set_set_u32(set.get(), NFTNL_SET_ID, id);
    nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, v4 ? ipv4_type : ipv6_type);
    nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, v4 ? 4 : 16);
    nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, times_out ? NFT_SET_TIMEOUT : 0);
    batch.put(NFT_MSG_NEWSET, family, NLM_F_CREATE,
              [&](nlmsghdr* m) { nftnl_set_nlmsg_build_payload(m, set.get()); });
}

void put_rules(Batch& batch, std::uint16_t family, const std::vector<Written>& rules) {
    Rule all(nftnl_rule_alloc());  // of the table: what is there now
    nftnl_rule_set_str(all.get(), NFTNL_RULE_TABLE, table_name);
    batch.put(NFT_MSG_DELRULE, family, 0, [&](nlmsghdr* m) { nftnl_rule_nlmsg_build_payload(m, all.get()); });
    for (const auto& written : rules)
        batch.put(NFT_MSG_NEWRULE, family, NLM_F_CREATE | NLM_F_APPEND,
                  [&](nlmsghdr* m) { nftnl_rule_nlmsg_build_payload(m, written.rule.get()); });
}

void put_everything(Batch& batch) {
    for (const std::uint16_t family : {NFPROTO_INET, NFPROTO_ARP})
        put_table(batch, family, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    put_chain(batch, NFPROTO_INET, "incoming", NF_INET_PRE_ROUTING, before_all);
    put_chain(batch, NFPROTO_INET, "outgoing", NF_INET_POST_ROUTING, before_all);
    put_chain(batch, NFPROTO_ARP, "incoming", NF_ARP_IN, before_all);
    put_chain(batch, NFPROTO_ARP, "outgoing", NF_ARP_OUT, before_all);
    put_set(batch, NFPROTO_INET, "held4", true, false, 1);
    put_set(batch, NFPROTO_INET, "leased4", true, true, 2);
    put_set(batch, NFPROTO_INET, "held6", false, false, 3);
    put_set(batch, NFPROTO_INET, "leased6", false, true, 4);
    put_set(batch, NFPROTO_ARP, "held4", true, false, 5);
    put_set(batch, NFPROTO_ARP, "leased4", true, true, 6);
    put_rules(batch, NFPROTO_INET, inet_rules());
    put_rules(batch, NFPROTO_ARP, arp_rules());
}

void put_elements(Batch& batch, std::uint16_t type, std::uint16_t family, const char* name,
                  const std::vector<IpAddress>& addresses, Duration timeout = {}) {
    if (addresses.empty()) return;
    Set set(nftnl_set_alloc());
    nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table_name);
    nftnl_set_set_str(set.get(), NFTNL_SET_NAME, name);
    for (const auto& address : addresses) {
        nftnl_set_elem* element = nftnl_set_elem_alloc();
        const auto bytes = address.bytes();
        nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, bytes.data(), static_cast<std::uint32_t>(bytes.size()));
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
        if (ms > 0) nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_TIMEOUT, static_cast<std::uint64_t>(ms));
        nftnl_set_elem_add(set.get(), element);
    }
    batch.put(type, family, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0,
              [&](nlmsghdr* m) { nftnl_set_elems_nlmsg_build_payload(m, set.get()); });
}

// The kernel leaves the timeout of an element alone that is there already, and refuses to remove one that is not:
// so it is added, removed, and added. To everybody else that is one moment.
void put_anew(Batch& batch, std::uint16_t family, const char* name, const std::vector<IpAddress>& addresses,
              Duration timeout) {
    put_elements(batch, NFT_MSG_NEWSETELEM, family, name, addresses, 1s);
    put_elements(batch, NFT_MSG_DELSETELEM, family, name, addresses);
    if (timeout > 0us) put_elements(batch, NFT_MSG_NEWSETELEM, family, name, addresses, timeout);
}

struct ByFamily {
    std::vector<IpAddress> v4, v6;
    explicit ByFamily(const std::vector<IpAddress>& all) {
        for (const auto& one : all) (one.is_v4() ? v4 : v6).push_back(one);
    }
};

Error explained(const char* deed, int code) {
    const std::string doing = std::string(deed) + ": ";
    switch (code) {
        case EPERM: return Error{doing + "needs CAP_NET_ADMIN", code};
        case EPROTONOSUPPORT:
        case EOPNOTSUPP:
        case EAFNOSUPPORT:
            return Error{doing + "this kernel has no nf_tables for inet and arp; load it with: modprobe nf_tables",
                         code};
        case EBUSY: return Error{doing + "somebody else changes the packet filter", code};
    }
    return Error{doing + std::strerror(code), code};
}

}  // namespace

struct KernelLease::Inside {
    struct Close {
        void operator()(mnl_socket* s) const noexcept { mnl_socket_close(s); }
    };
    std::unique_ptr<mnl_socket, Close> socket;
    std::uint32_t sequence = 1;

    static Result<std::unique_ptr<Inside>> open(const char* deed);
    Outcome commit(const char* deed, const std::function<void(Batch&)>& fill);
    int answer(std::uint32_t first, std::uint32_t last);
};

// The kernel has answered when send() returns: reading never waits.
int KernelLease::Inside::answer(std::uint32_t first, std::uint32_t last) {
    alignas(nlmsghdr) char room[32768];
    int worst = -1;
    for (;;) {
        const ssize_t got = ::recv(mnl_socket_get_fd(socket.get()), room, sizeof room, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return worst >= 0 ? worst : ETIMEDOUT;
        int left = static_cast<int>(got);
        for (auto* m = reinterpret_cast<nlmsghdr*>(room); mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
            if (m->nlmsg_type != NLMSG_ERROR || m->nlmsg_seq < first || m->nlmsg_seq > last) continue;
            const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(m));
            if (worst <= 0) worst = -error->error;
        }
    }
}

Outcome KernelLease::Inside::commit(const char* deed, const std::function<void(Batch&)>& fill) {
    const std::uint32_t first = sequence;
    Batch batch(first);
    fill(batch);
    const auto bytes = batch.finish();
    sequence = batch.next_sequence();
    if (batch.is_full()) return explained(deed, EMSGSIZE);
    if (mnl_socket_sendto(socket.get(), bytes.data(), bytes.size()) < 0) return explained(deed, errno);
    if (const int code = answer(first, sequence); code != 0) return explained(deed, code);
    return Done{};
}

KernelLease::KernelLease(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
KernelLease::KernelLease(KernelLease&&) noexcept = default;
KernelLease& KernelLease::operator=(KernelLease&&) noexcept = default;
KernelLease::~KernelLease() = default;

Result<std::unique_ptr<KernelLease::Inside>> KernelLease::Inside::open(const char* deed) {
    auto inside = std::make_unique<Inside>();
    inside->socket.reset(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC));
    if (!inside->socket || mnl_socket_bind(inside->socket.get(), 0, MNL_SOCKET_AUTOPID) < 0)
        return explained(deed, errno);
    // A transaction of thousands must fit.
    const int room = 4 << 20;
    (void)::setsockopt(mnl_socket_get_fd(inside->socket.get()), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    return inside;
}

Result<KernelLease> KernelLease::open() {
    constexpr const char* deed = "making the nftables table koi";
    auto inside = Inside::open(deed);
    if (!inside) return inside.error();
    KernelLease opened(std::move(*inside));
    auto done = opened.inside_->commit(deed, put_everything);
    if (!done && done.error().code == EEXIST) {  // somebody made tables of this name with other sets
        if (auto gone = remove(); !gone) return gone.error();
        done = opened.inside_->commit(deed, put_everything);
    }
    if (!done) return done.error();
    return opened;
}

Outcome KernelLease::lease(const std::vector<IpAddress>& addresses, Duration rest) {
    if (addresses.empty()) return Done{};
    const ByFamily by(addresses);
    return inside_->commit("leasing the vips", [&](Batch& batch) {
        put_anew(batch, NFPROTO_INET, "leased4", by.v4, rest);
        put_anew(batch, NFPROTO_INET, "leased6", by.v6, rest);
        put_anew(batch, NFPROTO_ARP, "leased4", by.v4, rest);
        put_elements(batch, NFT_MSG_NEWSETELEM, NFPROTO_INET, "held4", by.v4);
        put_elements(batch, NFT_MSG_NEWSETELEM, NFPROTO_INET, "held6", by.v6);
        put_elements(batch, NFT_MSG_NEWSETELEM, NFPROTO_ARP, "held4", by.v4);
    });
}

Outcome KernelLease::let_go(const std::vector<IpAddress>& addresses) {
    if (addresses.empty()) return Done{};
    const ByFamily by(addresses);
    return inside_->commit("letting go of leases", [&](Batch& batch) {
        const auto remove = [&](std::uint16_t family, const char* set, const auto& some, Duration timeout) {
            put_elements(batch, NFT_MSG_NEWSETELEM, family, set, some, timeout);
            put_elements(batch, NFT_MSG_DELSETELEM, family, set, some);
        };
        remove(NFPROTO_INET, "held4", by.v4, 0s);
        remove(NFPROTO_INET, "held6", by.v6, 0s);
        remove(NFPROTO_ARP, "held4", by.v4, 0s);
        remove(NFPROTO_INET, "leased4", by.v4, 1s);
        remove(NFPROTO_INET, "leased6", by.v6, 1s);
        remove(NFPROTO_ARP, "leased4", by.v4, 1s);
    });
}

Outcome KernelLease::remove() {
    constexpr const char* deed = "removing the nftables table koi";
    auto inside = Inside::open(deed);
    if (!inside) return inside.error();
    // One that is not there cannot be removed: made first, in the same moment.
    return (*inside)->commit(deed, [](Batch& batch) {
        for (const std::uint16_t family : {NFPROTO_INET, NFPROTO_ARP}) {
            put_table(batch, family, NFT_MSG_NEWTABLE, NLM_F_CREATE);
            put_table(batch, family, NFT_MSG_DELTABLE, 0);
        }
    });
}

}  // namespace koi::vip
