#include "tests/support/scripted_server.hpp"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <csignal>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdexcept>
#include <unistd.h>

namespace lazypull::test {

namespace {

bool same_name(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
}

std::shared_ptr<SSL_CTX> make_context(const Identity& identity, const Identity* client_authority) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  const auto bio = [](const std::string& text) {
    return std::unique_ptr<BIO, decltype(&BIO_free)>(
        BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  };
  const auto certificate = std::unique_ptr<X509, decltype(&X509_free)>(
      PEM_read_bio_X509(bio(identity.certificate).get(), nullptr, nullptr, nullptr), X509_free);
  const auto key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>(
      PEM_read_bio_PrivateKey(bio(identity.key).get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  if (SSL_CTX_use_certificate(context.get(), certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    throw std::runtime_error("the scripted server cannot use its certificate");
  }
  if (client_authority != nullptr) {
    const auto authority = std::unique_ptr<X509, decltype(&X509_free)>(
        PEM_read_bio_X509(bio(client_authority->certificate).get(), nullptr, nullptr, nullptr), X509_free);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), authority.get());
    SSL_CTX_add_client_CA(context.get(), authority.get());
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return context;
}

std::string chunk(std::string_view bytes) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return size + std::string(bytes) + "\r\n";
}

}  // namespace

std::string ScriptedRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (same_name(key, name)) return value;
  }
  return {};
}

bool ScriptedRequest::has_header(std::string_view name) const {
  return std::any_of(headers.begin(), headers.end(),
                     [&](const auto& entry) { return same_name(entry.first, name); });
}

// One connection, served by a thread of its own until either side ends it.
class ScriptedServer::Connection {
 public:
  Connection(ScriptedServer& server, int fd, std::size_t number) : server_(server), fd_(fd), number_(number) {
    thread_ = std::thread([this] { serve(); });
  }
  ~Connection() {
    close_and_join();
    ::close(fd_);
  }

  void close_and_join() {
    ::shutdown(fd_, SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }

 private:
  void serve() {
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl(nullptr, SSL_free);
    if (server_.tls_) {
      ssl.reset(SSL_new(server_.tls_.get()));
      SSL_set_fd(ssl.get(), fd_);
      ssl_ = ssl.get();
    }
    const auto greeting = server_.greeting();
    if (!greeting.empty()) {
      send_all(greeting);
      wait_for_client();
    } else if (ssl_ == nullptr || SSL_accept(ssl_) == 1) {
      while (serve_one()) {
      }
    }
    ::shutdown(fd_, SHUT_RDWR);
    ssl_ = nullptr;
  }

  bool serve_one() {
    ScriptedRequest request;
    if (!read_request(request)) return false;
    const bool is_head = request.method == "HEAD";
    const auto response = server_.answer(std::move(request));
    if (response.hang_up) return false;
    if (response.stall) return wait_for_client();
    if (!response.raw.empty() && response.drip.count() > 0) return drip(response.raw, response.drip);
    if (!response.raw.empty()) {
      send_all(response.raw);
      return false;
    }
    if (!send_all(head_of(response))) return false;
    if (response.drip.count() > 0) return drip(response.body, response.drip);
    return is_head ? !response.close_after : send_body(response);
  }

  bool read_request(ScriptedRequest& request) {
    std::size_t end = 0;
    while ((end = input_.find("\r\n\r\n")) == std::string::npos) {
      if (!receive()) return false;
    }
    std::string head = input_.substr(0, end + 2);
    input_.erase(0, end + 4);
    const auto line = head.substr(0, head.find("\r\n"));
    request.method = line.substr(0, line.find(' '));
    request.target = line.substr(line.find(' ') + 1, line.rfind(' ') - line.find(' ') - 1);
    request.connection = number_;
    for (auto at = line.size() + 2; at < head.size();) {
      const auto stop = head.find("\r\n", at);
      const auto colon = head.find(':', at);
      request.headers.emplace_back(head.substr(at, colon - at), head.substr(colon + 2, stop - colon - 2));
      at = stop + 2;
    }
    const auto length = request.header("Content-Length");
    const std::size_t size = length.empty() ? 0 : std::stoul(length);
    while (input_.size() < size) {
      if (!receive()) return false;
    }
    request.body = input_.substr(0, size);
    input_.erase(0, size);
    return true;
  }

  static std::string head_of(const ScriptedResponse& response) {
    std::string head = "HTTP/1.1 " + std::to_string(response.status) + " Scripted\r\n";
    for (const auto& [name, value] : response.headers) head += name + ": " + value + "\r\n";
    if (response.chunked) {
      head += "Transfer-Encoding: chunked\r\n";
    } else if (!response.without_length) {
      head += "Content-Length: " + std::to_string(response.claimed_length.value_or(response.body.size())) +
              "\r\n";
    }
    return head + "\r\n";
  }

  bool send_body(const ScriptedResponse& response) {
    std::string_view body = response.body;
    if (response.cut_after) body = body.substr(0, *response.cut_after);
    if (response.stall_after) body = body.substr(0, *response.stall_after);
    constexpr std::size_t piece = 60000;
    for (; !body.empty(); body.remove_prefix(std::min(piece, body.size()))) {
      const auto part = body.substr(0, piece);
      if (!(response.chunked ? send_all(chunk(part)) : send_all(part))) return false;
    }
    if (response.cut_after) return false;
    if (response.stall_after) return wait_for_client();
    if (response.chunked && !send_all("0\r\n\r\n")) return false;
    return !response.without_length && !response.close_after;
  }

  // Until the client goes away.
  bool drip(std::string_view bytes, std::chrono::milliseconds pause) {
    for (std::size_t at = 0; send_all(bytes.substr(at, 1)); at = (at + 1) % bytes.size()) {
      pollfd gone{.fd = fd_, .events = POLLIN | POLLRDHUP, .revents = 0};
      if (::poll(&gone, 1, static_cast<int>(pause.count())) != 0) break;
    }
    return false;
  }

  // Until the client goes away; it has nothing more to say.
  bool wait_for_client() {
    while (receive()) {
    }
    return false;
  }

  bool receive() {
    char buffer[16384];
    const auto got = ssl_ != nullptr ? SSL_read(ssl_, buffer, sizeof buffer)
                                     : static_cast<int>(::recv(fd_, buffer, sizeof buffer, 0));
    if (got <= 0) return false;
    input_.append(buffer, static_cast<std::size_t>(got));
    return true;
  }

  bool send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ssl_ != nullptr
                            ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                            : static_cast<int>(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  ScriptedServer& server_;
  int fd_;
  std::size_t number_;
  SSL* ssl_ = nullptr;
  std::string input_;
  std::thread thread_;
};

ScriptedServer::ScriptedServer() {
  start();
}

ScriptedServer::ScriptedServer(const Identity& identity, const Identity* client_authority)
    : tls_(make_context(identity, client_authority)) {
  // OpenSSL writes to its socket without MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  start();
}

ScriptedServer::~ScriptedServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  close_connections();
  connections_.clear();
}

void ScriptedServer::start() {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the scripted server cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_loop(); });
}

void ScriptedServer::accept_loop() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      ::close(fd);
      return;
    }
    connections_.push_back(std::make_unique<Connection>(*this, fd, connections_.size()));
  }
}

void ScriptedServer::on(const std::string& key, ScriptedResponse response) {
  on(key, [response = std::move(response)](const ScriptedRequest&) { return response; });
}

void ScriptedServer::on(const std::string& key, Handler handler) {
  const std::lock_guard lock(mutex_);
  scripts_[key].handlers.push_back(std::move(handler));
}

void ScriptedServer::otherwise(Handler handler) {
  const std::lock_guard lock(mutex_);
  otherwise_ = std::move(handler);
}

void ScriptedServer::greet(std::string raw) {
  const std::lock_guard lock(mutex_);
  greeting_ = std::move(raw);
}

std::string ScriptedServer::greeting() const {
  const std::lock_guard lock(mutex_);
  return greeting_;
}

ScriptedResponse ScriptedServer::answer(ScriptedRequest request) {
  Handler handler;
  {
    const std::lock_guard lock(mutex_);
    const auto found = scripts_.find(request.method + " " + request.path());
    if (found != scripts_.end()) {
      auto& script = found->second;
      handler = script.handlers[std::min(script.next, script.handlers.size() - 1)];
      ++script.next;
    } else {
      handler = otherwise_;
    }
    requests_.push_back(request);
  }
  arrived_.notify_all();
  return handler ? handler(request) : ScriptedResponse(404);
}

std::vector<ScriptedRequest> ScriptedServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<ScriptedRequest> ScriptedServer::requests(const std::string& key) const {
  auto all = requests();
  std::erase_if(all,
                [&](const ScriptedRequest& request) { return request.method + " " + request.path() != key; });
  return all;
}

std::size_t ScriptedServer::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_.size();
}

bool ScriptedServer::wait_for_request(const std::string& key) const {
  std::unique_lock lock(mutex_);
  return arrived_.wait_for(lock, std::chrono::seconds(10), [&] {
    return std::any_of(requests_.begin(), requests_.end(), [&](const ScriptedRequest& request) {
      return request.method + " " + request.path() == key;
    });
  });
}

void ScriptedServer::close_connections() {
  std::vector<Connection*> open;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& connection : connections_) open.push_back(connection.get());
  }
  // Without the lock, which their threads may want.
  for (auto* connection : open) connection->close_and_join();
}

}  // namespace lazypull::test
