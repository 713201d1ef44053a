#pragma once

#include "transport/credentials.hpp"

#include <chrono>
#include <string>
#include <string_view>

namespace lazypull {

/// Asks `docker-credential-NAME get` about a server, by the protocol of Docker's credential helpers: the
/// server's name on its standard input, JSON with Username and Secret on its standard output. Empty if the
/// helper knows nothing of it. Throws Error{invalid_argument} for a name that is no plain file name or a
/// helper that does not exist or must not be run, {unauthorized} where it fails, {timed_out}, {bad_response},
/// {cancelled}; the message names the helper and the server, and has nothing that could be a secret.
Awaitable<Credentials> ask_credential_helper(std::string name, std::string server,
                                             std::chrono::milliseconds limit = std::chrono::minutes{1});

/// What a helper has answered. Throws Error{bad_response}, which does not quote it.
Credentials parse_helper_answer(std::string_view json);

}  // namespace lazypull
