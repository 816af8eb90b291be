// supervisor/control/words.h
//
// What a request says, taken out of its query and its body, and how an answer is written. Pure. Whatever bytes a
// client sends give a value or none, and cost no more than to read them: a body is read past, however deep it nests,
// and what is no UTF-8 is answered with replacement characters.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/control/control_server.h"

namespace koi::control {

// Of the query.
std::string word(const Request&, const std::string& key, const std::string& otherwise);
std::uint64_t number(const Request&, const std::string& key, std::uint64_t otherwise);

// A member of the JSON object that the body is; of several with one name the last.
std::optional<std::string> text_in(const std::string& body, std::string_view name);
std::optional<std::int64_t> number_in(const std::string& body, std::string_view name);

Answer as_json(const nlohmann::json&, int status = 200);
Answer error(int status, const std::string& sentence);

}  // namespace koi::control
