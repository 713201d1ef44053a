#include "engine/error.hpp"
#include "transport/tls_options.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>

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

using Native = std::shared_ptr<SSL_CTX>;

Native load(const ClientCertificate& client) {
  const Native holder(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!holder) fail("TLS");
  const auto& key = client.key_file.empty() ? client.cert_file : client.key_file;
  if (SSL_CTX_use_certificate_chain_file(holder.get(), client.cert_file.c_str()) != 1) {
    fail("client certificate file " + client.cert_file);
  }
  if (SSL_CTX_use_PrivateKey_file(holder.get(), key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(holder.get()) != 1) {
    fail("client key file " + key);
  }
  return holder;
}

bool issued_by_one_of(const Native& client, const STACK_OF(X509_NAME) * authorities) {
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(client.get(), static_cast<void*>(&chain));
  for (int i = 0; i < sk_X509_NAME_num(authorities); ++i) {
    const auto* name = sk_X509_NAME_value(authorities, i);
    const auto* leaf = SSL_CTX_get0_certificate(client.get());
    if (X509_NAME_cmp(X509_get_issuer_name(leaf), name) == 0) return true;
    for (int j = 0; j < sk_X509_num(chain); ++j) {
      if (X509_NAME_cmp(X509_get_issuer_name(sk_X509_value(chain, j)), name) == 0) return true;
    }
  }
  return false;
}

// Called when the server asks for a certificate. A server that names no authority takes any.
int choose_client(SSL* ssl, void* argument) {
  const auto& clients = *static_cast<const std::vector<Native>*>(argument);
  const auto* authorities = SSL_get0_peer_CA_list(ssl);
  const auto fits = [&](const Native& client) { return issued_by_one_of(client, authorities); };
  auto chosen = std::find_if(clients.begin(), clients.end(), fits);
  if (chosen == clients.end()) chosen = clients.begin();
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(chosen->get(), static_cast<void*>(&chain));
  return SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(chosen->get()),
                              SSL_CTX_get0_privatekey(chosen->get()), chain, 1);
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
  for (const auto& file : options.ca_files) {
    if (SSL_CTX_load_verify_file(context, file.c_str()) != 1) fail("CA certificate file " + file);
  }
  for (const auto& client : options.clients) clients_.push_back(load(client));
  // Connections end their handshake before the context goes, so that what it refers to is there.
  if (!clients_.empty()) SSL_CTX_set_cert_cb(context, choose_client, &clients_);
}

}  // namespace lazypull
