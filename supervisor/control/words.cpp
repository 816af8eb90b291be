#include "supervisor/control/words.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

namespace koi::control {

namespace {

using nlohmann::json;

// Reads past everything but one member of the outermost object. A tree of a million brackets would take the memory,
// and to copy it the stack.
class Member final : public nlohmann::json_sax<json> {
public:
    using Value = std::variant<std::monostate, std::string, std::int64_t>;

    explicit Member(std::string_view name) : name_(name) {}
    Value found;

    bool null() override { return is({}); }
    bool boolean(bool) override { return is({}); }
    bool number_integer(std::int64_t n) override { return is(n); }
    bool number_unsigned(std::uint64_t n) override {
        return std::in_range<std::int64_t>(n) ? is(static_cast<std::int64_t>(n)) : is({});
    }
    bool number_float(double, const std::string&) override { return is({}); }
    bool string(std::string& text) override { return is(std::move(text)); }
    bool binary(json::binary_t&) override { return is({}); }
    bool start_object(std::size_t) override {
        if (depth_ == 0) in_object_ = true;
        return open();
    }
    bool start_array(std::size_t) override { return open(); }
    bool key(std::string& key) override {
        if (depth_ == 1) is_next_ = key == name_;
        return true;
    }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool parse_error(std::size_t, const std::string&, const json::exception&) override { return false; }

private:
    bool is(Value value) {
        if (in_object_ && depth_ == 1 && is_next_) found = std::move(value);
        return true;
    }
    bool open() {
        (void)is({});
        ++depth_;
        return true;
    }
    bool close() {
        --depth_;
        return true;
    }

    std::string_view name_;
    std::size_t depth_ = 0;
    bool in_object_ = false, is_next_ = false;
};

Member::Value member(const std::string& body, std::string_view name) {
    Member reader(name);
    if (!json::sax_parse(body, &reader)) return {};
    return std::move(reader.found);
}

}  // namespace

std::string word(const Request& request, const std::string& key, const std::string& otherwise) {
    const auto found = request.query.find(key);
    return found == request.query.end() ? otherwise : found->second;
}

std::uint64_t number(const Request& request, const std::string& key, std::uint64_t otherwise) {
    const auto text = word(request, key, "");
    std::from_chars(text.data(), text.data() + text.size(), otherwise);
    return otherwise;
}

std::optional<std::string> text_in(const std::string& body, std::string_view name) {
    auto value = member(body, name);
    auto* text = std::get_if<std::string>(&value);
    return text ? std::optional(std::move(*text)) : std::nullopt;
}

std::optional<std::int64_t> number_in(const std::string& body, std::string_view name) {
    const auto value = member(body, name);
    const auto* n = std::get_if<std::int64_t>(&value);
    return n ? std::optional(*n) : std::nullopt;
}

Answer as_json(const json& body, int status) {
    return {status, "application/json", body.dump(2, ' ', false, json::error_handler_t::replace) + "\n"};
}

Answer error(int status, const std::string& sentence) { return as_json({{"error", sentence}}, status); }

}  // namespace koi::control
