#include "discovery/messages.h"

#include "supervisor/base/bytes.h"
#include "supervisor/base/check.h"

namespace koi::discovery {

namespace {

enum class Kind : std::uint8_t { watch_pools = 'W', pool_snapshot = 'P', source_failed = 'F', scout_alive = 'A' };
enum class SourceKind : std::uint8_t { static_source = 's', file_source = 'f' };

constexpr std::size_t longest_name = 255, longest_path = 4096, longest_story = 4096, longest_version = 63;

// Format 1 had no byte for the format: a message began with its kind, a letter.
constexpr std::uint8_t with_a_first_byte = 2, lowest_letter = 'A';

// What does not fit is cut before it is sent, so that everything we send can be read.
std::string_view cut(std::string_view text, std::size_t longest) { return text.substr(0, longest); }

void write(Writer& out, const Member& member) {
    out.address(member.address).boolean(member.port.has_value());
    if (member.port) out.u16(member.port->value());
    out.boolean(member.weight.has_value());
    if (member.weight) out.u16(member.weight->value());
}

void write(Writer& out, const SourceSettings& source) {
    if (const auto* file = std::get_if<FileSource>(&source)) {
        out.u8(static_cast<std::uint8_t>(SourceKind::file_source)).string(cut(file->path, longest_path));
        out.u8(static_cast<std::uint8_t>(file->format));
        return;
    }
    const auto& members = std::get<StaticSource>(source).members;
    out.u8(static_cast<std::uint8_t>(SourceKind::static_source)).count(members.size());
    for (const auto& member : members) write(out, member);
}

void write(Writer& out, const PoolSettings& pool, [[maybe_unused]] std::uint8_t format) {
    out.string(cut(pool.name, longest_name));
    write(out, pool.source);
    out.u16(pool.weight.value()).boolean(pool.port.has_value());
    if (pool.port) out.u16(pool.port->value());
    out.duration(pool.hold_empty).duration(pool.drain);
#if KOI_FORMAT_RAISED
    if (format == formats.highest) out.string("of a later release");
#endif
}

Weight read_weight(Reader& in) { return *Weight::of(in.u16()); }  // every u16 is a weight

Port read_port(Reader& in) {
    const auto port = Port::of(in.u16());
    if (!port) in.make_bad();
    return port.value_or(*Port::of(1));
}

Duration read_duration(Reader& in) {
    const Duration d = in.duration();
    if (d < Duration::zero()) in.make_bad();
    return d;
}

Member read_member(Reader& in) {
    Member member{.address = in.address(), .port = {}, .weight = {}};
    if (in.boolean()) member.port = read_port(in);
    if (in.boolean()) member.weight = read_weight(in);
    return member;
}

SourceSettings read_source(Reader& in) {
    switch (static_cast<SourceKind>(in.u8())) {
        case SourceKind::file_source: {
            FileSource file{.path = in.string(longest_path)};
            const auto format = in.u8();
            if (format > static_cast<std::uint8_t>(FileFormat::yaml)) in.make_bad();
            file.format = static_cast<FileFormat>(format);
            return file;
        }
        case SourceKind::static_source: {
            StaticSource source;
            const auto count = in.count();
            for (std::size_t i = 0; i < count && !in.bad(); ++i) source.members.push_back(read_member(in));
            return source;
        }
    }
    in.make_bad();
    return {};
}

PoolSettings read_pool(Reader& in, [[maybe_unused]] std::uint8_t format) {
    PoolSettings pool{
        .name = in.string(longest_name), .source = read_source(in), .weight = read_weight(in), .port = {}};
    if (in.boolean()) pool.port = read_port(in);
    pool.hold_empty = read_duration(in);
    pool.drain = read_duration(in);
#if KOI_FORMAT_RAISED
    if (format == formats.highest && in.string() != "of a later release") in.make_bad();
#endif
    return pool;
}

WatchPools read_watch_pools(Reader& in, std::uint8_t format) {
    WatchPools watch;
    const auto count = in.count();
    for (std::size_t i = 0; i < count && !in.bad(); ++i) watch.pools.push_back(read_pool(in, format));
    return watch;
}

PoolSnapshot read_pool_snapshot(Reader& in) {
    PoolSnapshot snapshot{.pool = in.string(longest_name), .members = {}};
    const auto count = in.count();
    for (std::size_t i = 0; i < count && !in.bad(); ++i) {
        const Endpoint place = in.endpoint();
        // In order and each once, as a map writes them: another order is not ours.
        if (!snapshot.members.empty() && !(snapshot.members.rbegin()->first < place)) in.make_bad();
        snapshot.members.emplace_hint(snapshot.members.end(), place, read_weight(in));
    }
    return snapshot;
}

ScoutAlive read_alive(Reader& in, std::uint8_t format) {
    return {format >= with_a_first_byte ? in.string(longest_version) : std::string()};
}

struct Encoder {
    Writer& out;
    std::uint8_t format;
    void operator()(const WatchPools& m) {
        out.u8(static_cast<std::uint8_t>(Kind::watch_pools)).count(m.pools.size());
        for (const auto& pool : m.pools) write(out, pool, format);
    }
    void operator()(const PoolSnapshot& m) {
        out.u8(static_cast<std::uint8_t>(Kind::pool_snapshot))
            .string(cut(m.pool, longest_name))
            .count(m.members.size());
        for (const auto& [place, weight] : m.members) out.endpoint(place).u16(weight.value());
    }
    void operator()(const SourceFailed& m) {
        out.u8(static_cast<std::uint8_t>(Kind::source_failed)).string(cut(m.pool, longest_name));
        out.string(cut(m.story, longest_story));
    }
    void operator()(const ScoutAlive& m) {
        out.u8(static_cast<std::uint8_t>(Kind::scout_alive));
        if (format >= with_a_first_byte) out.string(cut(m.version, longest_version));
    }
};

}  // namespace

std::vector<std::uint8_t> encode(const Message& message, std::uint8_t format) {
    KOI_CHECK(formats.contains(format));
    Writer out;
    if (format >= with_a_first_byte) out.u8(format);
    std::visit(Encoder{out, format}, message);
    return out.take();
}

std::optional<std::uint8_t> format_of(std::span<const std::uint8_t> bytes) {
    if (bytes.empty()) return std::nullopt;
    return bytes[0] < lowest_letter ? bytes[0] : std::uint8_t{1};
}

std::optional<Message> decode(std::span<const std::uint8_t> bytes) {
    const auto format = format_of(bytes);
    if (!format || !formats.contains(*format)) return std::nullopt;
    if (*format < with_a_first_byte && bytes[0] < lowest_letter) return std::nullopt;
    Reader in(*format < with_a_first_byte ? bytes : bytes.subspan(1));
    std::optional<Message> message;
    switch (static_cast<Kind>(in.u8())) {
        case Kind::watch_pools: message = read_watch_pools(in, *format); break;
        case Kind::pool_snapshot: message = read_pool_snapshot(in); break;
        case Kind::source_failed:
            message = SourceFailed{.pool = in.string(longest_name), .story = in.string(longest_story)};
            break;
        case Kind::scout_alive: message = read_alive(in, *format); break;
        default: return std::nullopt;
    }
    if (!in.complete()) return std::nullopt;
    return message;
}

}  // namespace koi::discovery
