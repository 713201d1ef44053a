#pragma once

#include <memory>
#include <string>

struct ssl_ctx_st;

namespace lazypull {

/// How servers are verified and we identify ourselves; all files are PEM.
struct TlsOptions {
  bool skip_verify = false;
  std::string ca_file;    ///< trusted in addition to the system's CAs
  std::string cert_file;  ///< client certificate chain, with `key_file`
  std::string key_file;

  bool any() const noexcept {
    return skip_verify || !ca_file.empty() || !cert_file.empty() || !key_file.empty();
  }
};

/// The options, loaded; shared by all connections. TLS 1.2 is the least.
class TlsContext {
 public:
  /// Throws Error{invalid_argument} that names a file which cannot be used.
  explicit TlsContext(const TlsOptions& options);

  ssl_ctx_st* native() const noexcept { return context_.get(); }
  bool verifies() const noexcept { return verifies_; }

 private:
  std::shared_ptr<ssl_ctx_st> context_;
  bool verifies_;
};

}  // namespace lazypull
