#include "tests/support/test_identity.hpp"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <stdexcept>

namespace lazypull::test {

namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

void require(bool good) {
  if (!good) throw std::runtime_error("OpenSSL could not make a test certificate");
}

std::string contents(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

Bio to_bio(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free};
}

void add_extension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  auto* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  require(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

bool is_address(const std::string& name) {
  return name.find(':') != std::string::npos || name.find_first_not_of("0123456789.") == std::string::npos;
}

std::string alternative_names(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names)
    text += (text.empty() ? "" : ",") + std::string(is_address(name) ? "IP:" : "DNS:") + name;
  return text;
}

Certificate start_certificate(const std::string& name, EVP_PKEY* key, long serial) {
  Certificate certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 24L * 3600);
  X509_set_pubkey(certificate.get(), key);
  const auto* text = reinterpret_cast<const unsigned char*>(name.c_str());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC, text, -1, -1, 0);
  return certificate;
}

Identity to_identity(X509* certificate, EVP_PKEY* key) {
  const Bio certificate_text(BIO_new(BIO_s_mem()), BIO_free);
  const Bio key_text(BIO_new(BIO_s_mem()), BIO_free);
  require(PEM_write_bio_X509(certificate_text.get(), certificate) == 1);
  require(PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return {contents(certificate_text.get()), contents(key_text.get())};
}

}  // namespace

Identity make_authority(const std::string& name) {
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const auto certificate = start_certificate(name, key.get(), 1);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
  add_extension(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate.get(), certificate.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  require(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  return to_identity(certificate.get(), key.get());
}

Identity make_identity(const std::vector<std::string>& names, const Identity* authority) {
  static long serial = 1;
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const auto certificate = start_certificate(names.at(0), key.get(), ++serial);
  add_extension(certificate.get(), certificate.get(), NID_subject_alt_name, alternative_names(names));
  if (authority == nullptr) {
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get()));
    require(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
    return to_identity(certificate.get(), key.get());
  }
  const Certificate issuer(PEM_read_bio_X509(to_bio(authority->certificate).get(), nullptr, nullptr, nullptr),
                           X509_free);
  const Key issuer_key(PEM_read_bio_PrivateKey(to_bio(authority->key).get(), nullptr, nullptr, nullptr),
                       EVP_PKEY_free);
  require(issuer && issuer_key);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get()));
  require(X509_sign(certificate.get(), issuer_key.get(), EVP_sha256()) > 0);
  return to_identity(certificate.get(), key.get());
}

}  // namespace lazypull::test
