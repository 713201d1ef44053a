#include "tests/integration/support/push.hpp"

#include "tests/integration/support/containerd.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <filesystem>
#include <utility>

namespace lazypull::test {

namespace {

namespace fs = std::filesystem;

// skopeo wants the certificates in a folder, under fixed names.
void copy_certificates(const Certificates& certificates, const fs::path& folder) {
  fs::create_directories(folder);
  fs::copy_file(certificates.ca, folder / "ca.crt");
  fs::copy_file(certificates.client, folder / "client.cert");
  fs::copy_file(certificates.client_key, folder / "client.key");
}

}  // namespace

std::string push(const Image& image, Registry& registry, std::string_view name, ManifestFormat format) {
  const TempDir folder("push");
  write_layout(image, folder / "layout", "image");
  Argv argv = {"skopeo", "--insecure-policy", "copy", "--quiet"};
  if (image.platform.empty()) argv.emplace_back("--all");
  if (format == ManifestFormat::docker) {
    argv.insert(argv.end(), {"--format", "v2s2"});
  } else {
    argv.emplace_back("--preserve-digests");
  }
  if (registry.options().tls) {
    copy_certificates(registry.certificates(), folder / "certificates");
    argv.insert(argv.end(), {"--dest-cert-dir", folder / "certificates"});
  } else {
    argv.emplace_back("--dest-tls-verify=false");
  }
  auto account = registry.options().basic;
  if (registry.options().tokens != nullptr) account = registry.options().tokens->options().account;
  if (account) argv.insert(argv.end(), {"--dest-creds", account->user + ":" + account->password});
  auto reference = registry.reference(name);
  argv.insert(argv.end(), {"oci:" + (folder / "layout").string() + ":image", "docker://" + reference});
  run_ok(std::move(argv));
  return reference;
}

Image to_estargz(const Image& image) {
  const TempDir folder("estargz");
  write_layout(image, folder / "plain", "plain.test/image:latest");
  run_ok({"tar", "-C", folder / "plain", "-cf", folder / "plain.tar", "."});
  Containerd containerd;
  const std::string plain = "plain.test/image:latest";
  const std::string lazy = "lazy.test/image:latest";
  containerd.ctr_ok({"images", "import", "--no-unpack", "--digests=false", folder / "plain.tar"});
  run_ok({"ctr-remote", "--address", containerd.socket(), "images", "convert", "--estargz", "--oci", plain,
          lazy});
  containerd.ctr_ok({"images", "export", folder / "lazy.tar", lazy});
  fs::create_directory(folder / "lazy");
  run_ok({"tar", "-C", folder / "lazy", "-xf", folder / "lazy.tar"});
  return read_layout(folder / "lazy");
}

}  // namespace lazypull::test
