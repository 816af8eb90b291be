#include "supervisor/config/include.h"

#include <algorithm>
#include <iterator>

#include "discovery/quote.h"
#include "supervisor/config/yaml_trouble.h"

namespace koi::config {

namespace {

using discovery::shown;

constexpr std::size_t deepest = 8, most_files = 1000;

bool is_pattern(const std::string& text) { return text.find_first_of("*?[") != std::string::npos; }

class Includer {
public:
    Includer(const Loader& loader, Tree& tree, Notes& notes) : loader_(loader), tree_(tree), notes_(notes) {}

    // `spot`: where the file is asked for; nothing for the first.
    Node read(const std::string& path, const Spot* spot) {
        tree_.files.push_back(path);
        const std::string& name = tree_.files.back();
        auto content = loader_.file(path);
        if (!content) {
            notes_.complain(spot ? *spot : Spot{{&name, 0, 0}, ""}, content.error().story);
            return {};
        }
        auto parsed = parse_yaml(*content, name);
        if (const auto* complaint = std::get_if<Complaint>(&parsed)) {
            notes_.complaints.push_back(*complaint);
            return {};
        }
        open_.push_back(path);
        Node node = std::get<Node>(std::move(parsed));
        expand(node, "");
        open_.pop_back();
        return node;
    }

private:
    void expand(Node& node, const std::string& path) {
        switch (node.kind) {
            case Node::Kind::include: node = join(node, path); break;
            case Node::Kind::list: expand_list(node, path); break;
            case Node::Kind::map:
                for (std::size_t i = 0; i < node.items.size(); ++i)
                    expand(node.items[i], path + (path.empty() ? "" : ".") + shown_key(node.keys[i].text));
                break;
            case Node::Kind::nothing:
            case Node::Kind::scalar: break;
        }
    }

    void expand_list(Node& node, const std::string& path) {
        const auto is_include = [](const Node& item) { return item.kind == Node::Kind::include; };
        const bool includes = std::ranges::any_of(node.items, is_include);
        std::vector<Node> items;
        for (std::size_t i = 0; i < node.items.size(); ++i) {
            Node& item = node.items[i];
            if (item.kind == Node::Kind::scalar) {
                if (includes) items.push_back(std::move(item));
                continue;
            }
            const auto item_path = path + "[" + std::to_string(i) + "]";
            const bool spliced = is_include(item);
            expand(item, item_path);
            if (!includes) continue;
            if (spliced && item.kind == Node::Kind::list)
                std::ranges::move(item.items, std::back_inserter(items));
            else if (!(spliced && item.kind == Node::Kind::nothing))
                items.push_back(std::move(item));
        }
        if (includes) node.items = std::move(items);
    }

    // All that the pattern means, as one list or one map.
    Node join(const Node& include, const std::string& path) {
        const Spot spot{include.place, path};
        Node joined;
        joined.place = include.place;
        const auto files = matches(include, spot);
        for (const auto& file : files) {
            if (!may_read(file, spot)) break;
            append(joined, read(file, &spot), spot, file);
        }
        // A pattern that matches nothing is a list of nothing: conf.d may be empty.
        if (joined.kind == Node::Kind::nothing && is_pattern(include.text)) joined.kind = Node::Kind::list;
        return joined;
    }

    std::vector<std::string> matches(const Node& include, const Spot& spot) {
        if (include.text.empty()) {
            notes_.complain(spot, "!include needs a file name or a pattern, for example: !include conf.d/*.yaml");
            return {};
        }
        std::string path = include.text;
        const auto& from = *include.place.file;
        if (const auto slash = from.rfind('/'); !path.starts_with('/') && slash != std::string::npos)
            path.insert(0, from.substr(0, slash + 1));
        if (!is_pattern(path)) return {path};
        auto files = loader_.glob(path);
        std::ranges::sort(files);
        return files;
    }

    bool may_read(const std::string& file, const Spot& spot) {
        const auto refuse = [&](std::string what) {
            notes_.complain(spot, std::move(what));
            return false;
        };
        if (std::ranges::find(open_, file) != open_.end()) return refuse(shown(file) + " includes itself");
        if (open_.size() > deepest)
            return refuse("includes are nested too deeply; " + std::to_string(deepest) + " levels are enough");
        if (tree_.files.size() > most_files)
            return refuse("too many included files; " + std::to_string(most_files) + " are enough");
        return true;
    }

    void append(Node& joined, Node part, const Spot& spot, const std::string& file) {
        if (part.kind == Node::Kind::nothing) return;
        if (joined.kind == Node::Kind::nothing) {
            joined = std::move(part);
            return;
        }
        if (joined.kind != part.kind || joined.kind == Node::Kind::scalar)
            return notes_.complain(spot, shown(file) + " holds " + std::string(what_it_is(part)) +
                                             ", and a file before it " + std::string(what_it_is(joined)) +
                                             "; only lists or only maps can be joined");
        std::ranges::move(part.keys, std::back_inserter(joined.keys));
        std::ranges::move(part.items, std::back_inserter(joined.items));
    }

    const Loader& loader_;
    Tree& tree_;
    Notes& notes_;
    std::vector<std::string> open_;  // the files we are inside of
};

}  // namespace

void read_tree(const std::string& path, const Loader& loader, Tree& tree, Notes& notes) {
    tree.root = Includer(loader, tree, notes).read(path, nullptr);
}

}  // namespace koi::config
