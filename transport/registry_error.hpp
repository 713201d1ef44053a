#pragma once

#include "engine/error.hpp"
#include "transport/http_client.hpp"

#include <string>
#include <string_view>

namespace lazypull {

/// What an HTTP status that is no success means.
Errc errc_of_status(int status) noexcept;

/// What the body of a failure says, fit for a message: "DENIED: requested access to the resource is denied"
/// from the distribution specification's error JSON, or the text in the forms that token services use. Empty
/// if there is none.
std::string describe_error_body(std::string_view body);

/// Reads what the response's body says and makes "`what`: 403 Forbidden: DENIED: …" of it.
Awaitable<Error> failure_of(HttpResponse& response, std::string what);

}  // namespace lazypull
