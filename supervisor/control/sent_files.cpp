#include "supervisor/control/sent_files.h"

#include <nlohmann/json.hpp>

namespace koi::control {

namespace {

using nlohmann::json;

// Strings at "configuration", "files"/NAME and "patterns"/NAME/[]; a tree of a million brackets costs nothing but
// time.
class Reader final : public nlohmann::json_sax<json> {
public:
    SentFiles found;
    bool has_configuration = false, has_files = false;

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(std::int64_t) override { return true; }
    bool number_unsigned(std::uint64_t) override { return true; }
    bool number_float(double, const std::string&) override { return true; }
    bool binary(json::binary_t&) override { return true; }
    bool string(std::string& text) override {
        if (is_at(1) && top_ == "configuration") {
            found.configuration = std::move(text);
            has_configuration = true;
        } else if (is_at(2) && top_ == "files") {
            found.files[name_] = std::move(text);
        } else if (depth_ == 3 && objects_ == 2 && top_ == "patterns") {
            found.patterns[name_].push_back(std::move(text));
        }
        return true;
    }
    bool key(std::string& key) override {
        if (is_at(1)) top_ = std::move(key);
        if (is_at(2)) name_ = std::move(key);
        return true;
    }
    bool start_object(std::size_t) override {
        if (depth_ == objects_) ++objects_;
        ++depth_;
        has_files = has_files || (is_at(2) && top_ == "files");
        return true;
    }
    bool start_array(std::size_t) override {
        ++depth_;
        // A pattern that matches nothing is told, too.
        if (depth_ == 3 && objects_ == 2 && top_ == "patterns") found.patterns.try_emplace(name_);
        return true;
    }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool parse_error(std::size_t, const std::string&, const json::exception&) override { return false; }

private:
    // Inside so many objects, and nothing else.
    bool is_at(std::size_t depth) const { return depth_ == depth && objects_ == depth; }
    bool close() {
        --depth_;
        objects_ = std::min(objects_, depth_);
        return true;
    }

    std::string top_, name_;
    std::size_t depth_ = 0, objects_ = 0;  // objects_: how many of the outermost are objects
};

}  // namespace

std::string written(const SentFiles& sent) {
    const json body = {{"configuration", sent.configuration}, {"files", sent.files}, {"patterns", sent.patterns}};
    return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<SentFiles> sent_files(const std::string& body) {
    Reader reader;
    if (!json::sax_parse(body, &reader) || !reader.has_configuration || !reader.has_files) return std::nullopt;
    return std::move(reader.found);
}

}  // namespace koi::control
