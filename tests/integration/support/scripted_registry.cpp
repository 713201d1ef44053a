#include "tests/integration/support/scripted_registry.hpp"

#include <utility>

namespace lazypull::test {

void ScriptedRegistry::listen() {
  server_.otherwise([this](const ScriptedRequest& request) {
    ScriptedServer::Handler handler;
    {
      const std::lock_guard lock(mutex_);
      const auto found = answers_.find(request.method + " " + request.path());
      if (found != answers_.end()) handler = found->second;
    }
    return handler ? handler(request) : ScriptedResponse(404);
  });
}

void ScriptedRegistry::answer(const std::string& request, ScriptedServer::Handler handler) {
  const std::lock_guard lock(mutex_);
  answers_.insert_or_assign(request, std::move(handler));
}

void ScriptedRegistry::serve_blob(const std::string& bytes) {
  answer(blob_request(digest_of(bytes)), ScriptedResponse(200, bytes));
}

void ScriptedRegistry::serve(const Image& image, const std::string& tag_name) {
  for (const auto& [digest, bytes] : image.blobs) {
    answer(blob_request(digest), ScriptedResponse(200, bytes));
    // Of what lies below an index too.
    answer(manifest_request(digest), ScriptedResponse(200, bytes));
  }
  tag(image.digest, image.blobs.at(image.digest), image.media_type, tag_name);
}

void ScriptedRegistry::tag(const std::string& digest, const std::string& bytes, const std::string& media_type,
                           const std::string& tag_name) {
  const ScriptedResponse response(200, bytes,
                                  {{"Content-Type", media_type}, {"Docker-Content-Digest", digest}});
  for (const auto* method : {"HEAD", "GET"}) {
    answer(std::string(method) + " /v2/app/manifests/" + tag_name, response);
  }
}

std::string ScriptedRegistry::serve_manifest(const std::string& bytes, const std::string& media_type) {
  auto digest = digest_of(bytes);
  tag(digest, bytes, media_type);
  answer(manifest_request(digest), ScriptedResponse(200, bytes, {{"Content-Type", media_type}}));
  return digest;
}

}  // namespace lazypull::test
