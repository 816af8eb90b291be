// discovery/backend_list.h
//
// The shape of a list of backends, for every format: the borders call it with what they meet, in order, and it makes
// members or complaints of it. It keeps no tree, so that a file of a hundred thousand backends costs what its members
// cost, and depth costs nothing. Pure.
//
//   top      a list, or a map with the one key "backends"
//   item     "ip:port weight" as in lines, or a map with "address", "port" and "weight"
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "discovery/parse.h"

namespace koi::discovery {

// More than this in one pool is taken for a mistake; the kernel's table would not bear it either.
constexpr std::size_t most_members = 100'000;

struct Spot {
    unsigned line = 0, column = 0;
};

class BackendList {
public:
    void begin_list(Spot);
    void end_list();
    void begin_map(Spot);
    void end_map();
    void key(Spot, std::string_view);
    void scalar(Spot, std::string_view);  // a number, true or null comes as it is written
    void complain(Spot, std::string what);

    Parsed finish();  // once

private:
    enum class Where { before, top_map, list, item, unwanted, after };
    struct Item {
        Spot spot;
        std::optional<IpAddress> address;
        std::optional<Port> port;
        std::optional<Weight> weight;
        bool has_address = false, has_port = false, has_weight = false;
        bool spoiled = false;
    };

    void skip(Spot, std::string what);
    void begin_item(Spot);
    void item_key(Spot, std::string_view);
    void item_value(Spot, std::string_view);
    void end_item();
    void add(const Member&, Spot);

    Where where_ = Where::before;
    Where resume_ = Where::before;    // where we were before what is unwanted
    std::size_t unwanted_depth_ = 0;  // how deep we are in a thing that was complained about
    bool wrapped_ = false;            // the list is under "backends"
    std::string key_;                 // of the value that comes next; "" if nobody wants it
    Item item_;
    std::vector<Member> members_;
    std::vector<ParseComplaint> complaints_;
    std::size_t more_complaints_ = 0;
};

// The borders: each hands on what it meets, and lets no exception out.
void read_lines(std::string_view content, BackendList&);
void read_json(std::string_view content, BackendList&);
void read_yaml(std::string_view content, BackendList&);

// One member as parse_member() reads it, or what is wrong with it and where in the text.
struct MemberFault {
    std::size_t at = 0;
    std::string why;
};
std::variant<Member, MemberFault> read_member(std::string_view);
// Why no backend can be there: 0.0.0.0, a multicast address ...; "" if one can.
std::string why_unusable(const IpAddress&);

}  // namespace koi::discovery
