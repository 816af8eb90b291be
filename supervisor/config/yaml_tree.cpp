#include "supervisor/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include "discovery/quote.h"
#include "supervisor/config/yaml_trouble.h"

namespace koi::config {

namespace {

using discovery::shown;

// Bounds for what aliases may copy. A configuration that needs more is no configuration.
constexpr std::size_t most_copied_nodes = 100'000, most_copied_bytes = 4u << 20;
// Ours is six levels deep. Bounded here, nobody behind has to mind how deep a tree is.
constexpr std::size_t deepest = 32;

// Ends the reading at something that is YAML but not read here.
struct Unwanted {
    Spot spot;
    std::string what;
    std::optional<std::size_t> bracket = std::nullopt;  // the thing begins with a bracket there, perhaps never closed
};

struct Size {
    std::size_t nodes = 0, bytes = 0, depth = 0;
};

Size size_of(const Node& node) {
    Size size{.nodes = 1, .bytes = node.text.size(), .depth = 0};
    for (const auto& key : node.keys) size.bytes += key.text.size();
    for (const auto& item : node.items) {
        const auto part = size_of(item);
        size.nodes += part.nodes;
        size.bytes += part.bytes;
        size.depth = std::max(size.depth, part.depth + 1);
    }
    return size;
}

class Builder final : public YAML::EventHandler {
public:
    explicit Builder(const std::string& file) : file_(file) {}

    Node root;

    // The way to what is being read, for a complaint about it; or only to the list or map that begins at byte `end`.
    std::string path(std::optional<std::size_t> end = std::nullopt) const {
        std::string out;
        for (const auto& level : open_) {
            if (level.at == end) break;
            if (level.node.kind == Node::Kind::list)
                out += "[" + std::to_string(level.node.items.size()) + "]";
            else if (level.has_key)
                out += (out.empty() ? "" : ".") + shown_key(level.node.keys.back().text);
        }
        return out;
    }
    Spot spot(const YAML::Mark& mark) const { return {place(mark), path()}; }
    // Where the outermost "[" or "{" that is still open stands.
    std::optional<std::size_t> open_bracket() const {
        for (const auto& level : open_)
            if (level.bracket) return level.at;
        return std::nullopt;
    }
    std::optional<std::size_t> last_quote() const { return last_quote_; }

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (++documents_ > 1) throw Unwanted{spot(mark), "a second YAML document begins here; a file holds one"};
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        Node node = leaf(Node::Kind::nothing, mark, "");
        // yaml-cpp's place is where the next thing begins. The key is what the operator must look at.
        if (!open_.empty() && open_.back().has_key) node.place = open_.back().node.keys.back().place;
        add(std::move(node), mark, anchor);
    }

    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& text) override {
        if (tag == "!include") return add(leaf(Node::Kind::include, mark, text), mark, anchor);
        refuse_tag(mark, tag);
        Node node = leaf(Node::Kind::scalar, mark, text);
        node.in_quotes = tag == "!";
        if (node.in_quotes) last_quote_ = static_cast<std::size_t>(mark.pos);
        add(std::move(node), mark, anchor);
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto known = anchors_.find(anchor);
        if (known == anchors_.end()) throw Unwanted{spot(mark), "this alias means a thing that contains it"};
        add(copy(known->second), mark, 0);
    }

    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value style) override {
        begin(Node::Kind::list, mark, tag, anchor, style);
    }
    void OnSequenceEnd() override { end(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value style) override {
        begin(Node::Kind::map, mark, tag, anchor, style);
    }
    void OnMapEnd() override { end(); }

private:
    struct Level {
        Node node;
        YAML::anchor_t anchor = 0;
        bool has_key = false;  // map: the key of the next value is there
        bool bracket = false;  // written as [...] or {...}, which begins at byte `at`
        std::size_t at = 0;
    };

    Place place(const YAML::Mark& mark) const {
        if (mark.is_null()) return {&file_, 0, 0};
        return {&file_, static_cast<unsigned>(mark.line) + 1, static_cast<unsigned>(mark.column) + 1};
    }
    Node leaf(Node::Kind kind, const YAML::Mark& mark, const std::string& text) const {
        Node node;
        node.kind = kind;
        node.place = place(mark);
        node.text = text;
        return node;
    }

    // "?" and "!" are yaml-cpp's words for "none" and "none, in quotes".
    void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
        if (tag.empty() || tag == "?" || tag == "!") return;
        throw Unwanted{spot(mark), "the tag " + shown(tag) + " is not read here; the only one is !include"};
    }
    static void refuse_depth(const Spot& at, std::size_t depth) {
        if (depth > deepest)
            throw Unwanted{at, "nested too deeply; " + std::to_string(deepest) + " levels are enough"};
    }
    Node copy(const Node& node) {
        const Size size = size_of(node);
        refuse_depth({node.place, path()}, open_.size() + size.depth);
        copied_.nodes += size.nodes;
        copied_.bytes += size.bytes;
        if (copied_.nodes > most_copied_nodes || copied_.bytes > most_copied_bytes)
            throw Unwanted{{node.place, path()},
                           "anchors and aliases make this file too large; write out what is meant"};
        return node;
    }
    bool key_is_next() const {
        return !open_.empty() && open_.back().node.kind == Node::Kind::map && !open_.back().has_key;
    }

    void begin(Node::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
               YAML::EmitterStyle::value style) {
        if (key_is_next())
            throw Unwanted{spot(mark),
                           "a key must be a word, not " + std::string(kind == Node::Kind::list ? "a list" : "a map") +
                               "; text that begins with \"[\" or \"{\" needs quotes",
                           static_cast<std::size_t>(mark.pos)};
        refuse_tag(mark, tag);
        refuse_depth(spot(mark), open_.size() + 1);
        open_.push_back({.node = leaf(kind, mark, ""),
                         .anchor = anchor,
                         .bracket = style == YAML::EmitterStyle::Flow,
                         .at = static_cast<std::size_t>(mark.pos)});
    }
    void end() {
        Level done = std::move(open_.back());
        open_.pop_back();
        put(std::move(done.node), done.anchor);
    }
    void add(Node node, const YAML::Mark& mark, YAML::anchor_t anchor) {
        if (!key_is_next()) return put(std::move(node), anchor);
        if (node.kind != Node::Kind::scalar) throw Unwanted{spot(mark), "a key must be a word"};
        if (node.text == "<<" && !node.in_quotes)
            throw Unwanted{spot(mark),
                           "merge keys (<<) are not read; write the keys out, or put them under \"carp\""};
        auto& level = open_.back();
        level.node.keys.push_back({std::move(node.text), node.place});
        level.has_key = true;
    }
    void put(Node node, YAML::anchor_t anchor) {
        if (anchor != 0) anchors_[anchor] = copy(node);
        if (open_.empty()) {
            root = std::move(node);
            return;
        }
        open_.back().has_key = false;
        open_.back().node.items.push_back(std::move(node));
    }

    const std::string& file_;
    std::vector<Level> open_;
    std::map<YAML::anchor_t, Node> anchors_;
    Size copied_;
    unsigned documents_ = 0;
    std::optional<std::size_t> last_quote_;
};

Complaint at(const std::string& file, std::string_view text, std::size_t offset, std::string path, std::string what) {
    const auto [line, column] = line_and_column(text, offset);
    return complaint({{&file, line, column}, std::move(path)}, std::move(what));
}

Complaint explain(const YAML::Exception& e, const Builder& builder, std::string_view text, const std::string& file) {
    const std::size_t offset = e.mark.is_null() ? 0 : std::min(static_cast<std::size_t>(e.mark.pos), text.size());
    const auto trouble = explain_yaml(text, offset, e.msg, builder.open_bracket());
    return at(file, text, trouble.at, builder.path(trouble.at), trouble.what);
}

}  // namespace

std::string_view what_it_is(const Node& node) {
    switch (node.kind) {
        case Node::Kind::nothing: return "nothing";
        case Node::Kind::scalar: return "one value";
        case Node::Kind::list: return "a list";
        case Node::Kind::map: return "a map";
        case Node::Kind::include: return "an include";
    }
    return "?";
}

std::variant<Node, Complaint> parse_yaml(std::string_view text, const std::string& file) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    if (const auto trouble = look_at_bytes(text)) return at(file, text, trouble->at, "", trouble->what);
    Builder builder(file);
    try {
        std::istringstream in{std::string(text)};
        YAML::Parser parser(in);
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const Unwanted& found) {
        const auto open = found.bracket ? unclosed_bracket(text, *found.bracket) : std::nullopt;
        return open ? at(file, text, open->at, found.spot.path, open->what) : complaint(found.spot, found.what);
    } catch (const YAML::Exception& e) {
        return explain(e, builder, text, file);
    }
    if (const auto quote = builder.last_quote(); quote && !quote_is_closed(text, *quote))
        return at(file, text, *quote, "", "the quotes that open here are never closed");
    return std::move(builder.root);
}

}  // namespace koi::config
