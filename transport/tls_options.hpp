#pragma once

#include <memory>
#include <string>
#include <vector>

struct ssl_ctx_st;

namespace lazypull {

/// A chain, leaf first, and its key; both PEM.
struct ClientCertificate {
  std::string cert_file;
  std::string key_file;  ///< empty: the key is in `cert_file` too

  friend bool operator==(const ClientCertificate&, const ClientCertificate&) = default;
};

/// How servers are verified and we identify ourselves; all files are PEM.
struct TlsOptions {
  bool skip_verify = false;
  std::vector<std::string> ca_files;       ///< trusted in addition to the system's CAs
  std::vector<ClientCertificate> clients;  ///< the first that an authority which the server names has issued

  bool any() const noexcept { return skip_verify || !ca_files.empty() || !clients.empty(); }
  friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

/// The options, loaded; shared by all connections. TLS 1.2 is the least.
class TlsContext {
 public:
  /// Throws Error{invalid_argument} that names a file which cannot be used.
  explicit TlsContext(const TlsOptions& options);
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  ssl_ctx_st* native() const noexcept { return context_.get(); }
  bool verifies() const noexcept { return verifies_; }

 private:
  using Native = std::shared_ptr<ssl_ctx_st>;
  std::vector<Native> clients_;  // each holds one certificate, with its chain and key
  Native context_;               // refers to clients_
  bool verifies_;
};

}  // namespace lazypull
