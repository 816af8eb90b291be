// What the kernel answers, read by a decoder that must survive anything. What it understands, it can also write and
// read again. Bytes are taken as one datagram of the family 28, the number in the captured ones.
#include <cstddef>
#include <cstdint>
#include <span>

#include "ipvs/kernel/proc_table.h"
#include "ipvs/kernel/wire.h"
#include "supervisor/base/check.h"

using namespace koi;
using namespace koi::ipvs;

namespace {

constexpr std::uint16_t family_number = 28;

wire::Reply written(wire::Bytes& bytes, const Change& change) {
    wire::append(bytes, change, {.family = family_number, .sequence = 1});
    wire::View rest(bytes);
    const auto reply = wire::next_reply(rest, family_number);
    KOI_CHECK(reply && rest.empty() && reply->kind == wire::Reply::Kind::row);
    return *reply;
}

void check_service(const wire::ServiceRow& row) {
    if (row.service.granularity == odd_granularity) return;  // of others; never written
    wire::Bytes bytes;
    const auto back = wire::decode_service(written(bytes, AddService{row.key, row.service}).row);
    KOI_CHECK(back && back->key == row.key && back->service == row.service);
}

void check_backend(const wire::BackendRow& row, Family of_service) {
    const ServiceKey key = Fwmark{7, of_service};
    wire::Bytes bytes;
    const auto back = wire::decode_backend(written(bytes, AddBackend{key, row.key, row.backend}).row, of_service);
    KOI_CHECK(back && back->key == row.key && back->backend == row.backend);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto rest = std::as_bytes(std::span(data, size));
    while (const auto reply = wire::next_reply(rest, family_number)) {
        KOI_CHECK(reply->code >= 0);
        if (const auto service = wire::decode_service(reply->row)) check_service(*service);
        for (const auto family : {Family::ipv4, Family::ipv6})
            if (const auto backend = wire::decode_backend(reply->row, family)) check_backend(*backend, family);
    }
    // The same border's other dialect: text of the kernel.
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const ServiceKey web = Place{Protocol::tcp, IpAddress::v4({192, 0, 2, 1}), 80};
    const BackendKey seven{IpAddress::v4({10, 0, 0, 7}), 8080};
    ProcTable().shows(
        text, {{web, {{.scheduler = "mh", .persistence = 300, .granularity = 24}, {{seven, {.weight = 5}}}}}});
    return 0;
}
