#include "ipvs/memory/memory_datapath.h"

#include "tests/unit/ipvs/datapath_laws.h"

namespace koi::ipvs {

struct InMemory {
    MemoryDatapath memory;
    static constexpr unsigned seeds = 500;
    Datapath& path() { return memory; }
    void somebody_else(const std::vector<Change>& changes) { memory.table() = after(memory.table(), changes); }
};
INSTANTIATE_TYPED_TEST_SUITE_P(Memory, DatapathLaws, InMemory);

TEST(MemoryDatapath, TellsWhatItCarriedOut) {
    MemoryDatapath memory;
    ASSERT_TRUE(memory.change({AddService{tcp("192.0.2.1", 80), {}}, RemoveService{tcp("192.0.2.2", 80)}}));
    ASSERT_TRUE(memory.change({EditBackend{tcp("192.0.2.1", 80), at("10.0.0.7", 80), {}}}));
    ASSERT_EQ(memory.carried_out().size(), 2u);
    EXPECT_EQ(text(memory.carried_out()[0]), "add service 192.0.2.1:80/tcp (wrr)");
    EXPECT_EQ(text(memory.carried_out()[1]), "add backend 10.0.0.7:80 to 192.0.2.1:80/tcp (nat, weight 1)");
}

TEST(MemoryDatapath, CanBeBroken) {
    MemoryDatapath memory;
    memory.broken = Error{"no ip_vs here", ENODEV};
    EXPECT_EQ(memory.read().error().code, ENODEV);
    EXPECT_EQ(memory.counters().error().code, ENODEV);
    EXPECT_EQ(memory.change({}).error().story, "no ip_vs here");
    EXPECT_FALSE(memory.looks_like({}));
}

TEST(MemoryDatapath, CountsWhatTheTestSays) {
    const ServiceKey web = tcp("192.0.2.1", 80);
    MemoryDatapath memory({{web, {{}, {{at("10.0.0.7", 80), {}}}}}});
    memory.traffic()[web].traffic.connections = 3;
    memory.traffic()[web].backends[at("10.0.0.7", 80)].active = 2;
    memory.traffic()[web].backends[at("10.0.0.8", 80)].active = 9;  // not in the table: not shown
    const auto counters = memory.counters();
    EXPECT_EQ(counters->at(web).traffic.connections, 3u);
    EXPECT_EQ(counters->at(web).backends.size(), 1u);
    EXPECT_EQ(counters->at(web).backends.at(at("10.0.0.7", 80)).active, 2u);
}

}  // namespace koi::ipvs
