#pragma once

#include "tests/integration/support/certificates.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/token_server.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull::test {

struct RegistryOptions {
  bool tls = false;
  bool client_certificate = false;        ///< with tls: refuse clients that have none
  std::optional<Credentials> basic = {};  ///< HTTP Basic for everything
  const TokenServer* tokens = nullptr;    ///< Bearer tokens of this server; it must outlive the registry
  std::string proxy_of = {};              ///< a pull-through cache of this registry, "http://127.0.0.1:41234"
};

/// One line of the access log.
struct RegistryRequest {
  std::string method;
  std::string path;  ///< with query
  int status = 0;
  std::uint64_t bytes = 0;  ///< of the response body
  std::string user_agent;
};
std::ostream& operator<<(std::ostream& out, const RegistryRequest& request);

/// Debian's docker-registry on a free port of 127.0.0.1.
class Registry {
 public:
  explicit Registry(RegistryOptions options = {});

  const RegistryOptions& options() const { return options_; }
  std::string host() const;  ///< "127.0.0.1:41234"
  std::string reference(std::string_view name) const { return host() + "/" + std::string(name); }
  const Certificates& certificates() const { return certificates_; }  ///< with tls only

  /// Puts an image (or index) straight into the registry's storage, with no client between: nothing is
  /// converted or checked, and any repository is writable. `name` is "repository:tag". Returns the full
  /// reference. For what a client would push, see push.hpp.
  std::string store(const Image& image, std::string_view name);
  /// The stored bytes of a blob or manifest, to damage (write_file) or remove them.
  std::filesystem::path blob_file(const std::string& digest) const;
  /// Makes the tag point elsewhere, or nowhere if `digest` is empty.
  void retag(std::string_view name, const std::string& digest);

  /// All requests since the last reset. Waits until the registry has gone idle, so what it answered is in.
  /// `user_agent` selects those whose user agent begins so.
  std::vector<RegistryRequest> requests(std::string_view user_agent = {});
  /// The digests of the blobs that were read (GET, answered 200 or 206), in order of completion, repeats
  /// included.
  std::vector<std::string> fetched_blobs(std::string_view user_agent = {});
  void reset_log();

  void stop() { process_->stop(); }
  /// Again on the same port after `stop`.
  void start();
  std::string log() const { return process_->err(); }

 private:
  std::string config() const;

  RegistryOptions options_;
  TempDir folder_{"registry"};
  Certificates certificates_;
  std::uint16_t port_ = 0;
  std::optional<Process> process_;
  std::size_t log_start_ = 0;
};

}  // namespace lazypull::test
