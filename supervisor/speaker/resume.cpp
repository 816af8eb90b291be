#include "supervisor/speaker/resume.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <thread>
#include <type_traits>

#include "supervisor/base/file.h"
#include "supervisor/base/ownership.h"

namespace koi::speaker {

namespace {

constexpr Duration claim_patience = 1s;
constexpr std::uint64_t page_magic = 0x4b4f49524553554d;  // "KOIRESUM"

struct Slot {
    std::uint64_t role = 0;
    std::int64_t last_advert = 0;  // µs of CLOCK_BOOTTIME
};

// CLOCK_BOOTTIME begins anew with each boot, and a container's /run may outlive one.
std::array<char, 40> boot_id() {
    std::array<char, 40> id{};
    if (const auto text = read_whole("/proc/sys/kernel/random/boot_id", 64))
        std::copy_n(text->begin(), std::min(text->size(), id.size() - 1), id.begin());
    return id;
}

}  // namespace

struct Notes::Page {
    std::uint64_t magic = page_magic;
    std::array<char, 40> boot{};
    std::array<Slot, 256> slots{};

    bool is_of_this_boot() const { return magic == page_magic && boot == boot_id(); }
};

bool may_resume(const Note& note, const carp::Settings& us, Instant now) {
    if (note.role != carp::Role::master || note.last_advert > now) return false;
    return now - note.last_advert < carp::lease_length(us, us.advskew);
}

Notes Notes::open(const std::string& directory, std::string& problem) {
    static_assert(std::is_trivially_copyable_v<Page>);
    const std::string path = directory + "/resume";
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (fd && ::ftruncate(fd.get(), sizeof(Page)) == 0) {
        void* where = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
        if (where != MAP_FAILED) {
            auto* page = static_cast<Page*>(where);
            if (!page->is_of_this_boot()) {
                *page = Page{};
                page->boot = boot_id();
            }
            return Notes(page, true);
        }
    }
    problem = told_with_owner(from_errno("keeping " + path), path).story +
              "; a speaker that is started again will not resume its roles";
    return Notes(new Page{}, false);
}

Notes::Notes(Notes&& other) noexcept : page_(std::exchange(other.page_, nullptr)), mapped_(other.mapped_) {}
Notes& Notes::operator=(Notes&& other) noexcept {
    std::swap(page_, other.page_);
    std::swap(mapped_, other.mapped_);
    return *this;
}
Notes::~Notes() {
    if (!page_) return;
    if (mapped_)
        ::munmap(page_, sizeof(Page));
    else
        delete page_;
}

std::optional<Note> Notes::of(Vhid vhid) const {
    const Slot& slot = page_->slots[vhid.value()];
    if (slot.role == 0 || slot.role > static_cast<std::uint64_t>(carp::Role::master)) return std::nullopt;
    return Note{static_cast<carp::Role>(slot.role), Instant(Duration(slot.last_advert))};
}

void Notes::note(Vhid vhid, const Note& note) {
    page_->slots[vhid.value()] = {static_cast<std::uint64_t>(note.role), note.last_advert.time_since_epoch().count()};
}

void Notes::forget(Vhid vhid) { page_->slots[vhid.value()] = {}; }

Result<Fd> claim(const std::string& directory) {
    const std::string path = directory + "/lock";
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return told_with_owner(from_errno("opening " + path), path);
    // A child of a speaker that was just killed holds its lock until it has become another program, or has died, too.
    for (Duration left = claim_patience; left > 0us; left -= 10ms) {
        if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
        if (errno != EWOULDBLOCK) return from_errno("locking " + path);
        std::this_thread::sleep_for(10ms);
    }
    return Error{"another koid runs already in " + directory + "; ask it with: koi status", EBUSY};
}

Result<std::set<vip::Held>> read_held(const std::string& directory) {
    const auto content = read_whole(directory + "/held");
    std::set<vip::Held> held;
    if (!content && content.error().code == ENOENT) return held;
    if (!content) return content.error();
    std::istringstream lines(*content);
    std::string interface, address;
    while (lines >> interface >> address)
        if (const auto prefix = Prefix::parse(address)) held.insert({interface, *prefix});
    return held;
}

Outcome write_held(const std::string& directory, const std::set<vip::Held>& held) {
    std::string content;
    for (const auto& one : held) content += one.interface + " " + one.prefix.text() + "\n";
    // Not synced: the record describes this boot's kernel, and a power cut takes both.
    return write_whole(directory + "/held", content, 0600, false);
}

}  // namespace koi::speaker
