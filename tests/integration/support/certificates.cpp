#include "tests/integration/support/certificates.hpp"

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <string>

namespace lazypull::test {

namespace {

constexpr const char* config = R"([req]
distinguished_name = name
prompt = no
[name]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
[client]
basicConstraints = critical, CA:false
extendedKeyUsage = clientAuth
)";

void make(const std::filesystem::path& folder, const std::string& name, const std::string& section,
          bool self_signed) {
  Argv argv = {"openssl",
               "req",
               "-x509",
               "-config",
               "openssl.cnf",
               "-extensions",
               section,
               "-newkey",
               "ec",
               "-pkeyopt",
               "ec_paramgen_curve:prime256v1",
               "-nodes",
               "-days",
               "2",
               "-subj",
               "/CN=" + name,
               "-keyout",
               name + ".key",
               "-out",
               name + ".pem"};
  if (!self_signed) argv.insert(argv.end(), {"-CA", "ca.pem", "-CAkey", "ca.key"});
  run_ok(std::move(argv), {.cwd = folder});
}

}  // namespace

Certificates make_certificates(const std::filesystem::path& folder) {
  write_file(folder / "openssl.cnf", config);
  make(folder, "ca", "authority", true);
  make(folder, "server", "server", false);
  make(folder, "client", "client", false);
  return {.ca = folder / "ca.pem",
          .server = folder / "server.pem",
          .server_key = folder / "server.key",
          .client = folder / "client.pem",
          .client_key = folder / "client.key"};
}

}  // namespace lazypull::test
