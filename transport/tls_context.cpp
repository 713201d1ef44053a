#include "engine/error.hpp"
#include "transport/tls_options.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace lazypull {

namespace {

// Reads ahead from the socket so that many records cost one system call.
constexpr std::size_t read_buffer_bytes = 128U << 10U;

[[noreturn]] void fail(const std::string& what) {
  const auto code = ERR_get_error();
  ERR_clear_error();
  std::string reason;
  if (ERR_SYSTEM_ERROR(code)) {
    reason = boost::system::error_code(ERR_GET_REASON(code), boost::system::system_category()).message();
  } else if (const char* text = ERR_reason_error_string(code)) {
    reason = text;
  }
  throw Error(Errc::invalid_argument, reason.empty() ? what : what + ": " + reason);
}

}  // namespace

TlsContext::TlsContext(const TlsOptions& options)
    : context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free), verifies_(!options.skip_verify) {
  ERR_clear_error();
  auto* context = context_.get();
  if (context == nullptr) fail("TLS");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Every body has its own length, chunking, size or digest, so a missing close_notify cannot cut it unseen.
  SSL_CTX_set_options(context,
                      SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, read_buffer_bytes);
  SSL_CTX_set_verify(context, verifies_ ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  static constexpr unsigned char http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  SSL_CTX_set_alpn_protos(context, http11, sizeof http11);
  if (verifies_ && SSL_CTX_set_default_verify_paths(context) != 1) fail("system CA certificates");
  if (!options.ca_file.empty() && SSL_CTX_load_verify_file(context, options.ca_file.c_str()) != 1) {
    fail("CA certificate file " + options.ca_file);
  }
  if (options.cert_file.empty() != options.key_file.empty()) {
    fail("a client certificate needs both a certificate file and a key file");
  }
  if (options.cert_file.empty()) return;
  if (SSL_CTX_use_certificate_chain_file(context, options.cert_file.c_str()) != 1) {
    fail("client certificate file " + options.cert_file);
  }
  if (SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    fail("client key file " + options.key_file);
  }
  if (SSL_CTX_check_private_key(context) != 1) fail("client key file " + options.key_file);
}

}  // namespace lazypull
