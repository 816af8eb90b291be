#include "supervisor/main/koi_client.h"

#include <curl/curl.h>

#include <memory>

namespace koi::control {

namespace {

constexpr long patience_seconds = 30;
constexpr std::size_t largest_answer = 256u << 20;

struct CloseCurl {
    void operator()(CURL* c) const noexcept { curl_easy_cleanup(c); }
    void operator()(curl_slist* l) const noexcept { curl_slist_free_all(l); }
};
using Handle = std::unique_ptr<CURL, CloseCurl>;
using Headers = std::unique_ptr<curl_slist, CloseCurl>;

// What arrives, as it arrives. False ends the transfer.
using Sink = std::function<bool(long status, std::string_view)>;

struct Transfer {
    CURL* curl;
    const Sink& sink;
};

std::size_t on_bytes(char* bytes, std::size_t, std::size_t size, void* transfer) noexcept {
    auto& [curl, sink] = *static_cast<Transfer*>(transfer);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return sink(status, {bytes, size}) ? size : 0;
}

Error explained(CURLcode what, CURL* curl, const std::string& socket) {
    long code = 0;
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &code);
    const int error = static_cast<int>(code);
    const std::string remedy = "; start it with: systemctl start koi (another socket: --socket PATH)";
    if (what == CURLE_COULDNT_CONNECT && (error == EACCES || error == EPERM))
        return {"may not speak on " + socket + ": " + std::strerror(error) +
                    "; use sudo, or become a member of the group koi: adduser USER koi",
                error};
    if (what == CURLE_COULDNT_CONNECT)
        return {"koid is not running: nobody answers on " + socket + " (" + std::strerror(error) + ")" + remedy,
                ECONNREFUSED};
    if (what == CURLE_OPERATION_TIMEDOUT)
        return {"koid did not answer on " + socket + " within " + std::to_string(patience_seconds) +
                    " s; look at: journalctl -u koi",
                ETIMEDOUT};
    if (what == CURLE_GOT_NOTHING || what == CURLE_RECV_ERROR || what == CURLE_SEND_ERROR ||
        what == CURLE_PARTIAL_FILE)
        return {"koid went away while it was asked on " + socket + "; look at: journalctl -u koi", ECONNRESET};
    return {"asking koid on " + socket + ": " + curl_easy_strerror(what), EIO};
}

Result<long> perform(const std::string& socket, const std::string& path, const std::string* body, bool endless,
                     const Sink& sink) {
    Handle curl(curl_easy_init());
    if (!curl) return Error{"libcurl cannot be set up", ENOMEM};
    Headers headers;
    Transfer transfer{curl.get(), sink};
    curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_URL, ("http://koi" + path).c_str());
    curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &on_bytes);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &transfer);
    if (!endless) curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, patience_seconds);
    if (body) {
        headers.reset(curl_slist_append(nullptr, "Content-Type: application/json"));
        curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
        curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body->size()));
        curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body->c_str());
    }
    if (const CURLcode done = curl_easy_perform(curl.get()); done != CURLE_OK)
        return explained(done, curl.get(), socket);
    long status = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    return status;
}

Result<Heard> ask(const std::string& socket, const std::string& path, const std::string* body) {
    Heard heard;
    const auto status = perform(socket, path, body, false, [&](long, std::string_view bytes) {
        heard.body += bytes;
        return heard.body.size() <= largest_answer;
    });
    if (!status) return status.error();
    heard.status = *status;
    return heard;
}

}  // namespace

Result<Heard> Client::get(const std::string& path) { return ask(socket_, path, nullptr); }
Result<Heard> Client::post(const std::string& path, const std::string& body) { return ask(socket_, path, &body); }

Result<Heard> Client::follow(const std::string& path, const Line& line) {
    Heard heard;  // lines of a good answer leave it as soon as they are whole
    bool enough = false;
    const auto status = perform(socket_, path, nullptr, true, [&](long code, std::string_view bytes) {
        heard.body += bytes;
        for (std::size_t end = 0; code == 200 && !enough && (end = heard.body.find('\n')) != std::string::npos;) {
            enough = !line(heard.body.substr(0, end));
            heard.body.erase(0, end + 1);
        }
        return !enough && heard.body.size() <= largest_answer;
    });
    if (!status && !enough) return status.error();
    heard.status = status ? *status : 200;
    return heard;
}

bool nobody_answers(const Error& e) { return e.code == ECONNREFUSED || e.code == ETIMEDOUT || e.code == ECONNRESET; }

std::string in_query(const std::string& text) {
    const std::unique_ptr<char, void (*)(void*)> escaped(
        curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size())), curl_free);
    return escaped ? escaped.get() : "";
}

}  // namespace koi::control
