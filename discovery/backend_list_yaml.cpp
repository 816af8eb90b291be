// discovery/backend_list_yaml.cpp — the border to YAML: yaml-cpp's events, no tree. Its exceptions stop here.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <sstream>

#include "discovery/backend_list.h"
#include "discovery/quote.h"

namespace koi::discovery {

namespace {

Spot spot_of(const YAML::Mark& mark) {
    if (mark.is_null()) return {};
    return {static_cast<unsigned>(mark.line) + 1, static_cast<unsigned>(mark.column) + 1};
}

// Ends the reading: what comes after it would only confuse.
struct Unreadable {
    Spot spot;
    std::string what;
};

class YamlReader final : public YAML::EventHandler {
public:
    explicit YamlReader(BackendList& list) : list_(list) {}

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (++documents_ > 1) throw Unreadable{spot_of(mark), "a second YAML document begins here; a file holds one"};
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { value(mark, "null"); }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
        throw Unreadable{spot_of(mark), "aliases (*name) are not read in a list of backends"};
    }
    void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string& text) override {
        value(mark, text);
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                         YAML::EmitterStyle::value) override {
        no_key_here(mark);
        list_.begin_list(spot_of(mark));
        inside_.push_back(Inside::list);
    }
    void OnSequenceEnd() override {
        list_.end_list();
        leave();
    }
    void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
        no_key_here(mark);
        list_.begin_map(spot_of(mark));
        inside_.push_back(Inside::before_key);
    }
    void OnMapEnd() override {
        list_.end_map();
        leave();
    }

private:
    enum class Inside { list, before_key, before_value };

    void value(const YAML::Mark& mark, const std::string& text) {
        if (!inside_.empty() && inside_.back() == Inside::before_key) {
            list_.key(spot_of(mark), text);
            inside_.back() = Inside::before_value;
            return;
        }
        list_.scalar(spot_of(mark), text);
        value_done();
    }
    void no_key_here(const YAML::Mark& mark) {
        if (!inside_.empty() && inside_.back() == Inside::before_key)
            throw Unreadable{spot_of(mark), "a key must be a word; an IPv6 address in brackets needs quotes"};
    }
    void leave() {
        inside_.pop_back();
        value_done();
    }
    void value_done() {
        if (!inside_.empty() && inside_.back() == Inside::before_value) inside_.back() = Inside::before_key;
    }

    BackendList& list_;
    std::vector<Inside> inside_;
    unsigned documents_ = 0;
};

}  // namespace

void read_yaml(std::string_view content, BackendList& list) {
    try {
        std::istringstream in{std::string(content)};
        YAML::Parser parser(in);
        YamlReader handler(list);
        while (parser.HandleNextDocument(handler)) {
        }
    } catch (const Unreadable& found) {
        list.complain(found.spot, found.what);
    } catch (const YAML::Exception& e) {
        list.complain(spot_of(e.mark), "not YAML: " + clean(e.msg));
    }
}

}  // namespace koi::discovery
