// supervisor/config/print.cpp — Config → YAML in full. Every default is written out, so that it reads in again as
// itself even where a default will have changed.
#include <algorithm>

#include "discovery/quote.h"
#include "supervisor/config/read.h"
#include "supervisor/config/units.h"

namespace koi::config {

namespace {

// A word that YAML and our reader take for itself needs no quotes.
bool is_plain(const std::string& text) {
    if (text.empty() || text == "null" || text == "Null" || text == "NULL") return false;
    const auto safe = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '.' ||
               c == '_' || c == '-';
    };
    return std::ranges::all_of(text, safe) && text.front() != '-' && text != "...";
}

// Text holds no control characters: values.h lets none in.
std::string yaml(const std::string& text) {
    if (is_plain(text)) return text;
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

std::string yaml(bool value) { return value ? "true" : "false"; }
std::string in_quotes(const std::string& text) {
    return '"' + text + '"';
}  // places and members: ours, nothing to escape

template <class Range, class Text>
std::string list(const Range& range, Text text) {
    std::string out;
    for (const auto& one : range) out += (out.empty() ? "" : ", ") + text(one);
    return "[" + out + "]";
}

std::string_view word(Standby standby) {
    switch (standby) {
        case Standby::automatic: return "auto";
        case Standby::cold: return "cold";
        case Standby::warm: return "warm";
    }
    return "?";
}

std::string_view word(discovery::FileFormat format) {
    switch (format) {
        case discovery::FileFormat::automatic: return "auto";
        case discovery::FileFormat::lines: return "lines";
        case discovery::FileFormat::json: return "json";
        case discovery::FileFormat::yaml: return "yaml";
    }
    return "?";
}

// Lines "key: value" at one depth; the first of a list's item begins with a dash.
class Lines {
public:
    Lines(std::string& out, std::string indent, bool item = false)
        : out_(out), indent_(std::move(indent)), item_(item) {}

    void add(std::string_view key, std::string_view value) {
        out_ += indent_;
        if (item_) out_ += first_ ? "- " : "  ";
        first_ = false;
        out_ += key;
        out_ += value.empty() ? ":" : ": ";
        out_ += value;
        out_ += '\n';
    }
    template <std::integral Number>
    void add(std::string_view key, Number n) {
        add(key, std::string_view(std::to_string(n)));
    }

private:
    std::string& out_;
    std::string indent_;
    bool item_, first_ = true;
};

void print(std::string& out, const VipGroup& vip) {
    Lines lines(out, "  ", true);
    const auto& carp = vip.carp;
    lines.add("vhid", carp.vhid.value());
    lines.add("addresses", list(vip.addresses, [](const Prefix& p) { return in_quotes(p.text()); }));
    lines.add("interface", yaml(carp.interface));
    lines.add("key_file", yaml(vip.key_file));
    lines.add("advbase", carp.advbase.value());
    lines.add("advskew", carp.advskew.value());
    lines.add("preempt", yaml(carp.preempt));
    lines.add("preempt_delay", text(carp.preempt_delay));
    lines.add("peers", list(carp.peers, [](const IpAddress& a) { return in_quotes(a.text()); }));
    lines.add("link_local", carp.link_local == carp::LinkLocal::include ? "include" : "exclude");
    lines.add("v6_checksum", carp.v6_checksum == carp::V6Checksum::pseudo ? "pseudo" : "plain");
    lines.add("auth", carp.auth.mode == carp::Auth::Mode::off      ? "off"
                      : carp.auth.mode == carp::Auth::Mode::prefer ? "prefer"
                                                                   : "require");
    std::string keys;
    for (const auto& [id, path] : vip.auth_key_files)
        keys += (keys.empty() ? "" : ", ") + std::to_string(id) + ": " + yaml(path);
    if (!keys.empty()) lines.add("auth_keys", "{" + keys + "}");
    if (!carp.auth.legacy_peers.empty())
        lines.add("legacy_peers",
                  list(carp.auth.legacy_peers, [](const IpAddress& a) { return in_quotes(a.text()); }));
    if (carp.interval > 0us) lines.add("interval", text(carp.interval));
    lines.add("lease", carp.lease.kind == carp::Lease::Kind::automatic ? "auto"
                       : carp.lease.kind == carp::Lease::Kind::off     ? "off"
                                                                       : text(carp.lease.length));
}

std::vector<std::string> flag_words(const ipvs::Service& settings) {
    std::vector<std::string> words;
    std::string text = ipvs::scheduler_flags_text(settings.scheduler, settings.scheduler_flags);
    while (!text.empty()) {
        const auto comma = text.find(',');
        words.push_back(text.substr(0, comma));
        text = comma == std::string::npos ? "" : text.substr(comma + 1);
    }
    return words;
}

void print(std::string& out, const Service& service) {
    Lines lines(out, "  ", true);
    const auto& settings = service.settings;
    lines.add("name", yaml(service.name));
    if (const auto* mark = std::get_if<ipvs::Fwmark>(&service.at)) {
        lines.add("fwmark", mark->mark);
        lines.add("family", to_string(mark->family));
    } else {
        lines.add("at", in_quotes(text(service.at)));
    }
    lines.add("pool", yaml(service.pool));
    lines.add("scheduler", settings.scheduler);
    lines.add("scheduler_flags", list(flag_words(settings), [](const std::string& word) { return word; }));
    lines.add("forward", to_string(service.forward));
    if (service.forward == ipvs::Forward::tun) lines.add("tunnel", to_string(service.tunnel));
    if (service.tunnel_port != 0) lines.add("tunnel_port", service.tunnel_port);
    lines.add("persistence", text(Duration(std::chrono::seconds(settings.persistence))));
    if (settings.granularity != 0) lines.add("granularity", settings.granularity);
    if (!settings.persistence_engine.empty()) lines.add("persistence_engine", settings.persistence_engine);
    lines.add("one_packet", yaml(settings.one_packet));
    lines.add("upper_threshold", service.upper_threshold);
    lines.add("lower_threshold", service.lower_threshold);
    if (service.sorry_server) lines.add("sorry_server", in_quotes(service.sorry_server->text()));
}

std::string written(const discovery::Member& member) {
    std::string out = member.port ? Endpoint{member.address, *member.port}.text() : member.address.text();
    if (member.weight) out += " " + std::to_string(member.weight->value());
    return out;
}

void print(std::string& out, const discovery::SourceSettings& source) {
    Lines lines(out, "      ");
    if (const auto* file = std::get_if<discovery::FileSource>(&source))
        return lines.add("file",
                         "{ path: " + yaml(file->path) + ", format: " + std::string(word(file->format)) + " }");
    const auto& members = std::get<discovery::StaticSource>(source).members;
    lines.add("static", members.empty() ? "[]" : "");
    for (const auto& member : members) out += "        - " + in_quotes(written(member)) + "\n";
}

void print(std::string& out, const discovery::PoolSettings& pool) {
    Lines(out, "  ").add(yaml(pool.name), "");
    Lines lines(out, "    ");
    lines.add("source", "");
    print(out, pool.source);
    lines.add("weight", pool.weight.value());
    if (pool.port) lines.add("port", pool.port->value());
    lines.add("guard", "{ hold_empty: " + text(pool.hold_empty) + " }");
    lines.add("drain", text(pool.drain));
}

template <class Range>
void section(std::string& out, std::string_view name, const Range& range, std::string_view empty) {
    Lines(out, "").add(name, range.empty() ? empty : "");
    for (const auto& one : range) print(out, one);
}

}  // namespace

std::string print(const Config& config) {
    std::string out;
    Lines lines(out, "");
    lines.add("node", yaml(config.node));
    lines.add("standby", word(config.standby));
    lines.add("datapath", "auto");
    lines.add("connection_sync", "{ enabled: false }");
    lines.add("demote", "{ link: " + std::to_string(config.demote_link.value()) + " }");
    section(out, "vips", config.vips, "[]");
    section(out, "services", config.services, "[]");
    section(out, "pools", config.pools, "{}");
    return out;
}

}  // namespace koi::config
