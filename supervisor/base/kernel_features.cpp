#include "supervisor/base/kernel_features.h"

#include <linux/genetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <string>

namespace koi {

namespace {

struct Free {
    void operator()(nl_sock* s) const noexcept { nl_socket_free(s); }
    void operator()(nl_msg* m) const noexcept { nlmsg_free(m); }
};

// One question, one answer: yes, or an error that says why not.
template <class Header>
std::optional<bool> answers(int protocol, int type, const Header& header, const char* name = nullptr) {
    const std::unique_ptr<nl_sock, Free> socket(nl_socket_alloc());
    const std::unique_ptr<nl_msg, Free> question(nlmsg_alloc_simple(type, NLM_F_REQUEST));
    if (!socket || !question) return std::nullopt;
    if (const int e = nl_connect(socket.get(), protocol); e < 0)
        return e == -NLE_PROTO_MISMATCH || e == -NLE_AF_NOSUPPORT ? std::optional(false) : std::nullopt;
    const timeval patience{.tv_sec = 2, .tv_usec = 0};
    ::setsockopt(nl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    Header copy = header;
    if (nlmsg_append(question.get(), &copy, sizeof copy, NLMSG_ALIGNTO) < 0 ||
        (name && nla_put_string(question.get(), CTRL_ATTR_FAMILY_NAME, name) < 0) ||
        nl_send_auto(socket.get(), question.get()) < 0)
        return std::nullopt;
    const int e = nl_recvmsgs_default(socket.get());
    if (e >= 0) return true;
    if (e == -NLE_PERM || e == -NLE_AGAIN || e == -NLE_INTR) return std::nullopt;
    return false;
}

}  // namespace

KernelFeatures kernel_features() {
    return {.ip_vs = answers(NETLINK_GENERIC, GENL_ID_CTRL,
                             genlmsghdr{.cmd = CTRL_CMD_GETFAMILY, .version = 1, .reserved = 0}, "IPVS"),
            .nf_tables = answers(NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
                                 nfgenmsg{.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = 0})};
}

}  // namespace koi
