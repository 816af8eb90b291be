// supervisor/speaker/resume.h
//
// What a speaker leaves for the one after it, under the runtime directory:
//
//   resume   for each vhid the role and the instant of the last advert, in a file mapped into memory, so that a note
//            costs no system call and survives any death of the process;
//   held     the addresses we put on interfaces, one "interface address/length" a line, written whole before an
//   address is
//            added and after it was removed. `koid --withdraw` needs nothing else.
//
// The judgement is pure: may_resume() says whether the next speaker goes on as master or lets go and listens.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "carp/machine.h"
#include "supervisor/base/fd.h"
#include "supervisor/base/result.h"
#include "supervisor/vip/address_set.h"

namespace koi::speaker {

struct Note {
    carp::Role role = carp::Role::init;
    Instant last_advert{};
};

// A master whose peers are still waiting goes on: one whose lease (carp/settings.h) has not ended.
bool may_resume(const Note&, const carp::Settings&, Instant now);

class Notes {
public:
    // What an earlier speaker left is kept if it is of this boot and makes sense, otherwise it starts empty. Without
    // a directory to write in the notes live in memory only, which is said in `problem`.
    static Notes open(const std::string& directory, std::string& problem);
    Notes(Notes&&) noexcept;
    Notes& operator=(Notes&&) noexcept;
    ~Notes();

    std::optional<Note> of(Vhid) const;
    void note(Vhid, const Note&);
    void forget(Vhid);

private:
    struct Page;
    Notes(Page* page, bool mapped) : page_(page), mapped_(mapped) {}
    Page* page_;
    bool mapped_;
};

// One speaker per runtime directory: whoever holds this is it. Two would fight over roles and addresses.
Result<Fd> claim(const std::string& directory);

Result<std::set<vip::Held>> read_held(const std::string& directory);  // no file: nothing is held
Outcome write_held(const std::string& directory, const std::set<vip::Held>&);

}  // namespace koi::speaker
