#include "transport/redirect.hpp"

namespace lazypull {

bool is_redirect(int status) noexcept {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

Url redirect_target(const HttpResponse& response) {
  const auto location = response.head().fields.find("Location");
  const auto context = response.what() + ": " + response.head().status_line();
  if (!location) throw Error(Errc::bad_response, context + ": there is no Location");
  try {
    auto target = response.url().resolve(trim(*location));
    if (response.url().origin().tls && !target.origin().tls) {
      throw Error(Errc::bad_response, "refusing to go from https to " + target.display());
    }
    return target;
  } catch (const Error& error) {
    throw error.with_context(context);
  }
}

}  // namespace lazypull
