#include "ipvs/second_try.h"

#include <optional>
#include <set>
#include <utility>

#include "ipvs/refusal.h"

namespace koi::ipvs {

namespace {

bool removes(const Change& c) {
    return std::holds_alternative<RemoveService>(c) || std::holds_alternative<RemoveBackend>(c);
}

bool is_done_already(const Change& c, int code) { return removes(c) && (code == ESRCH || code == ENOENT); }

using Subject = std::pair<ServiceKey, std::optional<BackendKey>>;

Subject subject(const Change& change) {
    return std::visit(
        [](const auto& c) -> Subject {
            if constexpr (requires { c.backend; })
                return {c.key, c.backend};
            else
                return {c.key, std::nullopt};
        },
        change);
}

class SecondTry {
public:
    // code: what the first try of this change ended with, 0 for success.
    void consider(const Change& change, int code) {
        if (auto other = mended(change, code)) {
            mended_.insert(subject(change));
            changes.push_back(std::move(*other));
            origins.push_back(change);
        } else if (code && !is_done_already(change, code)) {
            refused.push_back({change, refusal(change, code)});
        }
    }

    std::vector<Change> changes, origins;  // what to try, and what was asked for
    std::vector<Refused> refused;

private:
    // The change that suits what was found, or nothing.
    std::optional<Change> mended(const Change& change, int code) {
        if (mended_.contains(subject(change))) return change;
        if (const auto* c = std::get_if<AddService>(&change); c && code == EEXIST)
            return EditService{c->key, c->service};
        if (const auto* c = std::get_if<EditService>(&change); c && code == ESRCH) {
            returning_.insert(c->key);
            return AddService{c->key, c->service};
        }
        if (const auto* c = std::get_if<AddBackend>(&change)) {
            if (code == EEXIST) return EditBackend{c->key, c->backend, c->value};
            if (code == ESRCH && returning_.contains(c->key)) return change;
        }
        if (const auto* c = std::get_if<EditBackend>(&change))
            if (code == ENOENT || (code == ESRCH && returning_.contains(c->key)))
                return AddBackend{c->key, c->backend, c->value};
        return std::nullopt;
    }

    std::set<Subject> mended_;
    std::set<ServiceKey> returning_;
};

}  // namespace

Result<std::vector<Refused>> with_second_try(const std::vector<Change>& changes, const Attempt& attempt) {
    const auto first = attempt(changes);
    if (!first) return first.error();

    if (first->empty()) return std::vector<Refused>{};

    SecondTry again;
    auto failure = first->begin();
    for (std::size_t at = failure->at; at < changes.size(); ++at) {
        const bool failed = failure != first->end() && failure->at == at;
        again.consider(changes[at], failed ? failure->code : 0);
        if (failed) ++failure;
    }
    if (again.changes.empty()) return again.refused;

    const auto second = attempt(again.changes);
    if (!second) return second.error();
    for (const auto& [at, code] : *second)
        if (!is_done_already(again.changes[at], code))
            again.refused.push_back({again.origins[at], refusal(again.origins[at], code)});
    return again.refused;
}

}  // namespace koi::ipvs
