// supervisor/base/fields.h
//
// A message's fields are said once and used in both directions: `fields(io, value)` calls `io(a, b)`, which writes a
// and b, or reads them. `io.expect()` is for the reader: what no writer of ours says is refused. `io.since(5, c)` is
// for a field that format 5 added: in an older one it is neither written nor read, and keeps its default. So a field
// is added at the end of its struct, under since(), and both formats stay spoken.
//
// Tongue: an empty struct. The overloads of fields() and last() are looked for in its namespace, and in those of its
// bases. last(Tongue, E) is the highest enumerator of E.
#pragma once

#include <concepts>
#include <map>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "supervisor/base/bytes.h"
#include "supervisor/base/formats.h"
#include "supervisor/base/types.h"

namespace koi {

template <class T, class Of>
concept like = std::same_as<std::remove_const_t<T>, Of>;
template <class T>
concept number = std::integral<T> && !std::same_as<T, bool>;

template <class Tongue>
class Writing {
public:
    explicit Writing(unsigned format) : format_(format) {}
    template <class... Values>
    void operator()(const Values&... values) {
        (put(values), ...);
    }
    template <class... Values>
    void since(unsigned format, const Values&... values) {
        if (format_ >= format) (put(values), ...);
    }
    void expect(bool) {}
    Writer& out() { return out_; }

private:
    void put(bool b) { out_.boolean(b); }
    void put(number auto n) { out_.i64(static_cast<std::int64_t>(n)); }
    void put(std::uint8_t n) { out_.u8(n); }
    void put(const std::string& s) { out_.string(s); }
    void put(const IpAddress& a) { out_.address(a); }
    void put(const Prefix& p) { out_.prefix(p); }
    void put(Duration d) { out_.duration(d); }
    void put(Instant t) { out_.instant(t); }
    template <class M, class R, R lowest, R highest>
    void put(Bounded<M, R, lowest, highest> n) {
        out_.i64(n.value());
    }
    template <class E>
    requires std::is_enum_v<E>
    void put(E e) { out_.u8(static_cast<std::uint8_t>(e)); }
    template <class A, class B>
    void put(const std::pair<A, B>& p) {
        (*this)(p.first, p.second);
    }
    template <class T>
    void put(const std::optional<T>& o) {
        out_.boolean(o.has_value());
        if (o) put(*o);
    }
    template <class T>
    void put(const std::vector<T>& all) {
        out_.count(all.size());
        for (const auto& one : all) put(one);
    }
    template <class K, class V>
    void put(const std::map<K, V>& all) {
        out_.count(all.size());
        for (const auto& one : all) put(one);
    }
    template <class T>
    requires requires(Writing& io, const T& value) { fields(io, value); }
    void put(const T& value) { fields(*this, value); }

    unsigned format_;
    Writer out_;
};

template <class Tongue>
class Reading {
public:
    // The bytes after the format, which says how they are to be read.
    Reading(unsigned format, std::span<const std::uint8_t> bytes) : format_(format), in_(bytes) {}
    template <class... Values>
    void operator()(Values&... values) {
        (get(values), ...);
    }
    template <class... Values>
    void since(unsigned format, Values&... values) {
        if (format_ >= format) (get(values), ...);
    }
    void expect(bool as_we_write_it) {
        if (!as_we_write_it) in_.make_bad();
    }
    Reader& in() { return in_; }

private:
    void get(bool& b) { b = in_.boolean(); }
    template <number N>
    void get(N& n) {
        const std::int64_t read = in_.i64();
        n = static_cast<N>(read);
        expect(static_cast<std::int64_t>(n) == read);
    }
    void get(std::uint8_t& n) { n = in_.u8(); }
    void get(std::string& s) { s = in_.string(); }
    void get(IpAddress& a) { a = in_.address(); }
    void get(Prefix& p) { p = in_.prefix(); }
    void get(Duration& d) { d = in_.duration(); }
    void get(Instant& t) { t = in_.instant(); }
    template <class M, class R, R lowest, R highest>
    void get(Bounded<M, R, lowest, highest>& n) {
        const auto read = Bounded<M, R, lowest, highest>::of(in_.i64());
        expect(read.has_value());
        if (read) n = *read;
    }
    template <class E>
    requires std::is_enum_v<E>
    void get(E& e) {
        const auto read = static_cast<E>(in_.u8());
        expect(read <= last(Tongue{}, E{}));
        if (!in_.bad()) e = read;
    }
    template <class A, class B>
    void get(std::pair<A, B>& p) {
        (*this)(p.first, p.second);
    }
    template <class T>
    void get(std::optional<T>& o) {
        if (in_.boolean()) get(o.emplace());
    }
    template <class T>
    void get(std::vector<T>& all) {
        // No reserve(): a count that lies may be as large as the rest of the message, and T is larger than a byte.
        for (std::size_t n = in_.count(); n > 0 && !in_.bad(); --n) get(all.emplace_back());
    }
    template <class K, class V>
    void get(std::map<K, V>& all) {
        for (std::size_t n = in_.count(); n > 0 && !in_.bad(); --n) {
            std::pair<K, V> one;
            get(one);
            expect(all.empty() || all.rbegin()->first < one.first);
            all.insert(std::move(one));
        }
    }
    template <class T>
    requires requires(Reading& io, T& value) { fields(io, value); }
    void get(T& value) { fields(*this, value); }

    unsigned format_;
    Reader in_;
};

}  // namespace koi
