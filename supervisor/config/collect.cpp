#include "supervisor/config/collect.h"

#include "supervisor/config/include.h"

namespace koi::config {

Collected collect(const std::string& path, const Loader& loader, std::vector<Complaint>& complaints) {
    Collected collected;
    Loader noting = loader;
    noting.file = [&](const std::string& file) {
        auto content = loader.file(file);
        if (content) collected.files.insert_or_assign(file, *content);
        return content;
    };
    noting.glob = [&](const std::string& pattern) {
        return collected.patterns.insert_or_assign(pattern, loader.glob(pattern)).first->second;
    };
    Notes notes;
    Tree tree;
    read_tree(path, noting, tree, notes);
    notes.sort();
    complaints = std::move(notes.complaints);
    return collected;
}

Loader replay(Collected collected, Loader host) {
    host.file = [files = std::move(collected.files)](const std::string& path) -> Result<std::string> {
        const auto found = files.find(path);
        if (found == files.end()) return Error{"the content of " + path + " did not come with the question", ENOENT};
        return found->second;
    };
    host.glob = [patterns = std::move(collected.patterns)](const std::string& pattern) {
        const auto found = patterns.find(pattern);
        return found == patterns.end() ? std::vector<std::string>() : found->second;
    };
    return host;
}

}  // namespace koi::config
