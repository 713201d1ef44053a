#pragma once

#include "transport/http_client.hpp"

namespace lazypull {

/// 301, 302, 303, 307 and 308.
bool is_redirect(int status) noexcept;

/// Where a redirect leads (RFC 9110 section 10.2.2). Throws Error{bad_response} where there is no Location,
/// it is malformed, or leads from https to http; the message begins with the request.
Url redirect_target(const HttpResponse& response);

}  // namespace lazypull
