#include "engine/error.hpp"
#include "transport/streams.hpp"

#include <boost/asio/ip/address.hpp>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <cerrno>

namespace lazypull {

using asio::ip::tcp;

namespace {

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL, so that a lost connection would raise SIGPIPE.
struct SocketBio {
  int fd = -1;
  int failure = 0;
  bool at_end = false;
};

bool would_block(int failure) {
  return failure == EAGAIN || failure == EWOULDBLOCK || failure == EINTR;
}

int bio_read(BIO* bio, char* data, std::size_t size, std::size_t* got) {
  auto* socket = static_cast<SocketBio*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto count = ::recv(socket->fd, data, size, 0);
  if (count > 0) {
    *got = static_cast<std::size_t>(count);
    return 1;
  }
  *got = 0;
  if (count == 0) {
    socket->at_end = true;
  } else if (would_block(errno)) {
    BIO_set_retry_read(bio);
  } else {
    socket->failure = errno;
  }
  return 0;
}

int bio_write(BIO* bio, const char* data, std::size_t size, std::size_t* sent) {
  auto* socket = static_cast<SocketBio*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto count = ::send(socket->fd, data, size, MSG_NOSIGNAL);
  if (count >= 0) {
    *sent = static_cast<std::size_t>(count);
    return 1;
  }
  *sent = 0;
  if (would_block(errno)) {
    BIO_set_retry_write(bio);
  } else {
    socket->failure = errno;
  }
  return 0;
}

long bio_ctrl(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return static_cast<SocketBio*>(BIO_get_data(bio))->at_end ? 1 : 0;
  return 0;
}

BIO_METHOD* socket_bio_method() {
  static BIO_METHOD* const method = [] {
    auto* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without SIGPIPE");
    BIO_meth_set_read_ex(made, bio_read);
    BIO_meth_set_write_ex(made, bio_write);
    BIO_meth_set_ctrl(made, bio_ctrl);
    return made;
  }();
  return method;
}

enum class Progress { done, at_end, want_read, want_write };

class TlsStream : public ByteStream {
 public:
  TlsStream(TimedSocket socket, const std::string& host, const TlsContext& tls)
      : socket_(std::move(socket)), ssl_(SSL_new(tls.native()), SSL_free) {
    if (!ssl_) throw Error(Errc::tls_failure, "out of memory");
    bio_.fd = socket_.native();
    auto* bio = BIO_new(socket_bio_method());
    if (bio == nullptr) throw Error(Errc::tls_failure, "out of memory");
    BIO_set_data(bio, &bio_);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    expect_host(host, tls.verifies());
  }

  Awaitable<> shake_hands(Clock::time_point until) {
    for (;;) {
      ERR_clear_error();
      const auto progress = judge(SSL_connect(ssl_.get()));
      if (progress == Progress::done) co_return;
      if (progress == Progress::at_end) throw Error(Errc::unavailable, "connection closed by the server");
      co_await wait_for(progress, until);
    }
  }

  Awaitable<std::size_t> read_some(std::span<std::byte> buffer, Clock::time_point until) override {
    for (bool waited = false;; waited = true) {
      std::size_t total = 0;
      auto progress = Progress::done;
      // A record has at most 16 KiB: gather all that have arrived.
      while (progress == Progress::done && total < buffer.size()) {
        std::size_t got = 0;
        ERR_clear_error();
        // What has been decrypted is handed out before a failure, which OpenSSL reports again next time.
        const int result = SSL_read_ex(ssl_.get(), buffer.data() + total, buffer.size() - total, &got);
        if (result != 1 && total > 0) break;
        progress = judge(result);
        total += got;
      }
      if (total > 0 || progress == Progress::at_end) {
        if (!waited) co_await yield_turn();
        co_return total;
      }
      co_await wait_for(progress, until);
    }
  }

  Awaitable<> write(std::span<const std::byte> bytes, Clock::time_point until) override {
    while (!bytes.empty()) {
      std::size_t sent = 0;
      ERR_clear_error();
      const auto progress = judge(SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &sent));
      if (progress == Progress::done) {
        bytes = bytes.subspan(sent);
        continue;
      }
      if (progress == Progress::at_end) throw Error(Errc::unavailable, "connection closed by the server");
      co_await wait_for(progress, until);
    }
  }

  // Session tickets arrive unasked with TLS 1.3, so that readable does not mean closed.
  bool idle_and_open() noexcept override {
    char byte = 0;
    std::size_t got = 0;
    ERR_clear_error();
    const int result = SSL_peek_ex(ssl_.get(), &byte, 1, &got);
    const bool quiet = result != 1 && SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ;
    ERR_clear_error();
    return quiet;
  }

 private:
  void expect_host(const std::string& host, bool verify) {
    boost::system::error_code not_an_address;
    asio::ip::make_address(host, not_an_address);
    const bool is_name = static_cast<bool>(not_an_address);
    bool good = true;
    if (is_name) good = SSL_set_tlsext_host_name(ssl_.get(), host.c_str()) == 1;
    if (verify && is_name) {
      SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      good = good && SSL_set1_host(ssl_.get(), host.c_str()) == 1;
    } else if (verify) {
      good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host.c_str()) == 1;
    }
    if (!good) throw Error(Errc::tls_failure, "the host name is not fit for TLS");
  }

  Progress judge(int result) {
    if (result == 1) return Progress::done;
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return Progress::want_read;
      case SSL_ERROR_WANT_WRITE:
        return Progress::want_write;
      case SSL_ERROR_ZERO_RETURN:
        return Progress::at_end;
      case SSL_ERROR_SYSCALL:
        socket_.close();
        if (bio_.failure == 0) throw Error(Errc::unavailable, "connection closed by the server");
        throw_socket_error({bio_.failure, boost::system::system_category()});
      default:
        throw_tls_error();
    }
  }

  [[noreturn]] void throw_tls_error() {
    const auto code = ERR_get_error();
    ERR_clear_error();
    socket_.close();
    const int reason = ERR_GET_REASON(code);
    const char* known = ERR_reason_error_string(code);
    std::string text = known == nullptr ? "protocol error" : known;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
      const auto why = SSL_get_verify_result(ssl_.get());
      text += std::string(" (") + X509_verify_cert_error_string(why) + ")";
    } else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST) {
      text += " (the server may speak plain HTTP)";
    }
    throw Error(Errc::tls_failure, text);
  }

  Awaitable<> wait_for(Progress progress, Clock::time_point until) {
    return socket_.wait(progress == Progress::want_write ? tcp::socket::wait_write : tcp::socket::wait_read,
                        until);
  }

  TimedSocket socket_;
  SocketBio bio_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
};

}  // namespace

Awaitable<std::unique_ptr<ByteStream>> make_tls_stream(TimedSocket socket, std::string host,
                                                       const TlsContext& tls, Clock::time_point until) {
  auto stream = std::make_unique<TlsStream>(std::move(socket), host, tls);
  co_await stream->shake_hands(until);
  co_return stream;
}

}  // namespace lazypull
