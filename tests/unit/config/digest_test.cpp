#include "supervisor/config/digest.h"

#include <gtest/gtest.h>

#include "supervisor/config/read.h"
#include "tests/unit/config/golden.h"

namespace koi::config {
namespace {

std::uint64_t digest_of(const std::string& text) {
    Files files;
    files.files["/koi.yaml"] = text;
    const auto reading = read("/koi.yaml", files.loader());
    EXPECT_TRUE(reading.config) << text;
    return reading.config ? digest(*reading.config) : 0;
}

TEST(Digest, NodesOfAPairHaveTheSame) {
    const std::string left = R"(
node: left
carp: { interface: eth0, key_file: /etc/koi/carp.key, advskew: 0, peers: [10.0.0.2] }
vips: [ { vhid: 1, addresses: [192.0.2.10/24] } ]
)",
                      right = R"(
node: right
carp: { interface: ens1, key_file: /etc/koi/other/carp.key, advskew: 100, preempt: false, peers: [10.0.0.1] }
vips: [ { vhid: 1, addresses: [192.0.2.10/24] } ]
)";
    EXPECT_EQ(digest_of(left), digest_of(right));
    EXPECT_NE(digest_of(left), 0u);
    auto another = right;
    another.replace(another.find("192.0.2.10"), 10, "192.0.2.11");
    EXPECT_NE(digest_of(left), digest_of(another));
}

}  // namespace
}  // namespace koi::config
