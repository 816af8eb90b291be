// discovery/backend_list_json.cpp — the border to JSON. nlohmann's SAX parser tells what it meets and not where, so
// the text is handed to it through an iterator that counts.
#include <nlohmann/json.hpp>

#include "discovery/backend_list.h"
#include "discovery/quote.h"

namespace koi::discovery {

namespace {

using Json = nlohmann::json;

// How far the parser has read. It reads one character at a time and, after a number, one too many.
class Progress {
public:
    explicit Progress(std::string_view text) : content(text) {}

    const std::string_view content;
    std::size_t read = 0;

    // The spot of byte `at`; asked with growing numbers, it counts each line once.
    Spot spot(std::size_t at) {
        for (; counted_ < at && counted_ < content.size(); ++counted_)
            if (content[counted_] == '\n') {
                ++line_;
                line_begin_ = counted_ + 1;
            }
        return {line_, static_cast<unsigned>(std::max(at, line_begin_) - line_begin_ + 1)};
    }

private:
    std::size_t counted_ = 0, line_begin_ = 0;
    unsigned line_ = 1;
};

class CountingIterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    CountingIterator(Progress& progress, std::size_t at) : progress_(&progress), at_(at) {}
    reference operator*() const { return progress_->content[at_]; }
    CountingIterator& operator++() {
        progress_->read = ++at_;
        return *this;
    }
    CountingIterator operator++(int) {
        auto before = *this;
        ++*this;
        return before;
    }
    friend bool operator==(const CountingIterator& a, const CountingIterator& b) { return a.at_ == b.at_; }

private:
    Progress* progress_;
    std::size_t at_;
};

class Handler {
public:
    Handler(Progress& progress, BackendList& list) : progress_(progress), list_(list) {}

    bool null() { return word("null"); }
    bool boolean(bool value) { return word(value ? "true" : "false"); }
    bool number_integer(Json::number_integer_t n) { return number(std::to_string(n)); }
    bool number_unsigned(Json::number_unsigned_t n) { return number(std::to_string(n)); }
    bool number_float(Json::number_float_t, const std::string& written) { return number(written); }
    bool binary(Json::binary_t&) { return false; }  // never in text

    bool string(std::string& value) {
        list_.scalar(string_spot(), value);
        return true;
    }
    bool key(std::string& value) {
        list_.key(string_spot(), value);
        return true;
    }
    bool start_object(std::size_t) {
        list_.begin_map(progress_.spot(progress_.read - 1));
        return true;
    }
    bool end_object() {
        list_.end_map();
        return true;
    }
    bool start_array(std::size_t) {
        list_.begin_list(progress_.spot(progress_.read - 1));
        return true;
    }
    bool end_array() {
        list_.end_list();
        return true;
    }

    bool parse_error(std::size_t position, const std::string&, const Json::exception& error) {
        const std::size_t size = progress_.content.size(), at = std::min(position == 0 ? 0 : position - 1, size);
        const bool is_text = at > 0 && at < size && progress_.content[at] == '"' && progress_.read == at + 1;
        list_.complain(is_text ? string_spot() : progress_.spot(at), reason(error.what()));
        return false;
    }

private:
    bool word(std::string_view text) {
        list_.scalar(progress_.spot(progress_.read - text.size()), text);
        return true;
    }

    // Nothing but a digit can stand before the one character too many.
    bool number(const std::string& text) {
        std::size_t end = std::min(progress_.read, progress_.content.size());
        const auto is_number = [](char c) {
            return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
        };
        if (end > 0 && !is_number(progress_.content[end - 1])) --end;
        std::size_t begin = end;
        while (begin > 0 && is_number(progress_.content[begin - 1])) --begin;
        list_.scalar(progress_.spot(begin), text);
        return true;
    }

    // The closing quote has just been read; the opening one is the nearest before it without a backslash in front.
    Spot string_spot() {
        std::size_t at = progress_.read - 1;
        do --at;
        while (at > 0 && !(progress_.content[at] == '"' && progress_.content[at - 1] != '\\'));
        return progress_.spot(at);
    }

    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing value - ..."
    std::string reason(std::string_view said) {
        constexpr std::string_view marker = "syntax error";
        const auto begin = said.find(marker);
        if (begin == std::string_view::npos) return "not JSON";
        auto rest = said.substr(begin + marker.size());
        if (const auto dash = rest.find(" - "); dash != std::string_view::npos) rest.remove_prefix(dash + 3);
        return "not JSON: " + clean(rest);
    }

    Progress& progress_;
    BackendList& list_;
};

}  // namespace

void read_json(std::string_view content, BackendList& list) {
    if (content.find_first_not_of(" \t\r\n") == std::string_view::npos) return;  // finish() says what that means
    Progress progress(content);
    Handler handler(progress, list);
    Json::sax_parse(CountingIterator(progress, 0), CountingIterator(progress, content.size()), &handler);
}

}  // namespace koi::discovery
