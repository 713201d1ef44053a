#include "transport/host_access.hpp"

#include "engine/error.hpp"

namespace lazypull {

std::shared_ptr<const TlsContext> HostAccess::tls() {
  if (context_) return context_;
  try {
    context_ = std::make_shared<TlsContext>(options_);
  } catch (const Error& error) {
    if (where_.empty()) throw;
    throw error.with_context(where_);
  }
  return context_;
}

}  // namespace lazypull
