#include "supervisor/base/secret.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>

namespace koi {
namespace {

// ---- the judgement ----

std::string judged(const std::string& owner, const secret::Reader& reader, bool opened = true, bool group = false,
                   bool others = false, const std::string& group_name = "root") {
    return secret::refusal({"/k", owner, group_name, group, others}, reader, opened).value_or("may be used");
}

TEST(Secret, BelongsToRootToKoiOrToItsReader) {
    for (const std::string reader : {"koi", "root", "alice"}) {
        for (const auto& owner : {std::string("koi"), std::string("root"), reader})
            EXPECT_EQ(judged(owner, {reader}), "may be used") << owner << " read by " << reader;
        EXPECT_EQ(judged("bob", {reader}), "/k belongs to bob, who could change it; run: chown koi /k");
    }
    EXPECT_EQ(judged("bob", {"root", false}), "/k belongs to bob, who could change it; run: chown root /k")
        << "where there is no user koi";
}

TEST(Secret, IsForNobodyElse) {
    EXPECT_EQ(judged("koi", {}, true, false, true), "/k can be read by others than its owner; run: chmod 0400 /k");
    EXPECT_EQ(judged("koi", {}, true, true, true), "/k can be read by others than its owner; run: chmod 0400 /k");
    EXPECT_EQ(judged("koi", {}, true, true, false, "adm"), "/k can be read by the group adm; run: chmod 0400 /k");
    EXPECT_EQ(judged("root", {}, true, true, false, "koi"),
              "/k can be read by the group koi, whose members may use the control socket but hold no key; run: chmod "
              "0400 /k");
    EXPECT_EQ(judged("bob", {"root"}, true, false, true),
              "/k can be read by others than its owner; run: chown koi /k && chmod 0400 /k");
}

TEST(Secret, ThatTheReaderMayNotOpenComesWithTheCommandThatLetsIt) {
    EXPECT_EQ(judged("root", {}, false),
              "/k belongs to root, and user koi, as whom koid runs, may not read it; run: chown koi /k");
    EXPECT_EQ(
        judged("bob", {}, false, true),
        "/k belongs to bob, and user koi, as whom koid runs, may not read it; run: chown koi /k && chmod 0400 /k");
    EXPECT_EQ(
        judged("koi", {"root"}, false),
        "/k belongs to koi, and root may read only what is its own here (no CAP_DAC_OVERRIDE); run: chown root /k");
    EXPECT_EQ(judged("koi", {"alice"}, false),
              "/k belongs to koi, and user alice may not read it; use sudo, or run: chown alice /k");
    EXPECT_EQ(judged("koi", {}, false), "/k cannot be read by its owner, user koi; run: chmod 0400 /k");
}

TEST(Secret, BehindAClosedFolder) {
    EXPECT_EQ(secret::closed("/etc/koi/keys/k", "/etc/koi/keys", {}),
              "/etc/koi/keys/k cannot be reached: user koi may not enter /etc/koi/keys; run: chown root:koi "
              "/etc/koi/keys && chmod 0750 /etc/koi/keys");
    EXPECT_EQ(secret::closed("/etc/koi/k", "/etc/koi", {}),
              "/etc/koi/k cannot be reached: user koi may not enter /etc/koi; run: chown root:koi /etc/koi && chmod "
              "0755 /etc/koi");
    EXPECT_EQ(secret::closed("/root/k", "/root", {}),
              "/root/k cannot be reached: user koi may not enter /root; move the key to /etc/koi/keys, and name that "
              "place in the configuration");
    EXPECT_EQ(secret::closed("/etc/koi/keys/k", "/etc/koi/keys", {"alice"}),
              "/etc/koi/keys/k cannot be reached: user alice may not enter /etc/koi/keys; use sudo");
}

// ---- real files ----

struct SecretFile : testing::Test {
    void SetUp() override {
        std::string made = testing::TempDir() + "koi-secret-XXXXXX";
        ASSERT_NE(::mkdtemp(made.data()), nullptr);
        folder = made;
        path = folder / "carp.key";
    }
    void TearDown() override { std::filesystem::remove_all(folder); }
    void put(const std::string& content, mode_t mode, uid_t owner = ::geteuid()) {
        std::filesystem::remove(path);
        std::ofstream(path, std::ios::binary) << content;
        ASSERT_EQ(::chmod(path.c_str(), mode), 0);
        ASSERT_EQ(::chown(path.c_str(), owner, static_cast<gid_t>(-1)), 0);
    }
    // As another user, or as a root without any capability.
    static int as(uid_t user, const std::function<bool()>& holds) {
        const pid_t child = ::fork();
        if (child == 0) {
            if (user != 0 && ::setresuid(user, user, user) != 0) ::_exit(2);
            __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
            __user_cap_data_struct none[2]{};
            if (::syscall(SYS_capset, &header, none) != 0) ::_exit(2);
            ::_exit(holds() ? 0 : 1);
        }
        int status = -1;
        ::waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    std::string refused() const {
        const auto read = read_secret(path);
        return read ? "" : read.error().story;
    }
    std::filesystem::path folder, path;
};

constexpr uid_t nobody = 65534;

TEST_F(SecretFile, IsReadWithoutItsLineEnd) {
    put("Sp ace&\n", 0600);
    EXPECT_EQ(*read_secret(path), "Sp ace&");
    put("dos\r\n", 0400);
    EXPECT_EQ(*read_secret(path), "dos");
    put("two\n\n", 0600);
    EXPECT_EQ(*read_secret(path), "two\n") << "only one";
    put("bare\r", 0600);
    EXPECT_EQ(*read_secret(path), "bare\r") << "that is no line end";
    put("\n", 0600);
    EXPECT_EQ(*read_secret(path), "");
    put(std::string(5000, 'x'), 0600);
    EXPECT_EQ(refused(), "reading " + path.string() + ": larger than 4096 bytes");
}

TEST_F(SecretFile, ThatOthersCanReadIsRefusedWithTheRemedy) {
    for (const mode_t wrong : {0644u, 0604u, 0601u}) {
        put("secret", wrong);
        EXPECT_EQ(refused(),
                  path.string() + " can be read by others than its owner; run: chmod 0400 " + path.string())
            << std::oct << wrong;
    }
    for (const mode_t wrong : {0640u, 0440u, 0620u}) {
        put("secret", wrong);
        EXPECT_NE(refused().find(" can be read by the group "), std::string::npos) << std::oct << wrong;
    }
}

TEST_F(SecretFile, OfRootIsNotForAnotherUser) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
    put("secret", 0400);
    EXPECT_EQ(as(nobody,
                 [&] {
                     return refused() == path.string() +
                                             " belongs to root, and user nobody may not read it; use "
                                             "sudo, or run: chown nobody " +
                                             path.string();
                 }),
              0);
    put("secret", 0400, nobody);
    EXPECT_EQ(as(nobody, [&] { return refused().empty(); }), 0) << "the reader's own";
    EXPECT_EQ(refused().find(path.string() + " belongs to nobody, who could change it; run: chown "), 0u)
        << "root could read it, but it is nobody's";
    EXPECT_EQ(as(0,
                 [&] {
                     return refused() == path.string() +
                                             " belongs to nobody, and root may read only what is its own here (no "
                                             "CAP_DAC_OVERRIDE); run: chown root " +
                                             path.string();
                 }),
              0);
    ASSERT_EQ(::chmod(folder.c_str(), 0700), 0);
    EXPECT_EQ(as(nobody,
                 [&] {
                     return refused() == path.string() + " cannot be reached: user nobody may not enter " +
                                             folder.string() + "; use sudo";
                 }),
              0);
}

// How systemd 254 and later hands a credential to the unit's user: root's own, and an access list that names the
// user.
TEST_F(SecretFile, AnAccessListThatNamesTheReaderIsNoOtherReader) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
    put("secret\n", 0400);
    struct Entry {
        std::uint16_t tag, permissions;
        std::uint32_t id;
    };
    struct {
        std::uint32_t version = 2;
        std::array<Entry, 5> entries = {{{1, 4, ~0u}, {2, 4, nobody}, {4, 0, ~0u}, {0x10, 4, ~0u}, {0x20, 0, ~0u}}};
    } list;
    const auto set = [&] { return ::setxattr(path.c_str(), "system.posix_acl_access", &list, sizeof list, 0); };
    if (set() != 0 && errno == EOPNOTSUPP) GTEST_SKIP() << "no access lists in " << folder;
    EXPECT_EQ(as(nobody, [&] { return refused().empty(); }), 0);
    EXPECT_NE(refused(), "") << "for root it is readable by nobody, who is another";
    list.entries[2].permissions = 4;
    ASSERT_EQ(set(), 0);
    EXPECT_EQ(
        as(nobody,
           [&] {
               return refused().ends_with("can be read by others than its owner; run: chmod 0400 " + path.string());
           }),
        0)
        << "the group may read it";
}

TEST_F(SecretFile, MustBeAPlainFile) {
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    EXPECT_EQ(refused(), path.string() + " is not a plain file");
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    EXPECT_EQ(refused(), path.string() + " is not a plain file");
    std::filesystem::remove(path);
    EXPECT_EQ(read_secret(path).error().code, ENOENT);
}

}  // namespace
}  // namespace koi
