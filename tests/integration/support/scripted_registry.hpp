#pragma once

#include "tests/integration/support/image.hpp"
#include "tests/support/scripted_server.hpp"

#include <map>
#include <mutex>
#include <string>

namespace lazypull::test {

/// A registry that serves images from memory, in the repository "app", of which a test spoils what it likes.
class ScriptedRegistry {
 public:
  ScriptedRegistry() { listen(); }
  explicit ScriptedRegistry(const Identity& identity) : server_(identity) { listen(); }

  /// Serves the image and all that it consists of; app:TAG leads to it.
  void serve(const Image& image, const std::string& tag = "1");
  /// Points app:TAG at this manifest, in the answers to HEAD and GET.
  void tag(const std::string& digest, const std::string& bytes, const std::string& media_type,
           const std::string& tag = "1");
  /// Serves a manifest or index of these bytes as app:1, and returns its digest.
  std::string serve_manifest(const std::string& bytes, const std::string& media_type);
  void serve_blob(const std::string& bytes);

  /// What is answered to "METHOD PATH" from now on.
  void answer(const std::string& request, ScriptedServer::Handler handler);
  void answer(const std::string& request, const ScriptedResponse& response) {
    answer(request, [response](const ScriptedRequest&) { return response; });
  }

  std::string reference(const std::string& tag = "1") const { return server_.host() + "/app:" + tag; }
  ScriptedServer& server() { return server_; }

 private:
  void listen();

  ScriptedServer server_;
  std::mutex mutex_;  // the server answers on threads of its own
  std::map<std::string, ScriptedServer::Handler> answers_;
};

inline std::string blob_request(const std::string& digest) {
  return "GET /v2/app/blobs/" + digest;
}
inline std::string manifest_request(const std::string& digest) {
  return "GET /v2/app/manifests/" + digest;
}

}  // namespace lazypull::test
