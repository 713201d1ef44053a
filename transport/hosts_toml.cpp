#include "transport/hosts_toml.hpp"

#include "engine/error.hpp"
#include "transport/duration.hpp"
#include "transport/toml.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <stdexcept>
#include <utility>

namespace lazypull {

namespace {

constexpr std::size_t max_hosts = 100;
constexpr std::size_t max_list = 100;

bool is_token_character(char c) {
  const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return alphanumeric || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
}

/// Reads the fields of one host; `path` is where they are, such as `host."https://mirror.example.com"`.
class FieldReader {
 public:
  FieldReader(const toml::table& table, std::string file, std::string path)
      : table_(table), file_(std::move(file)), path_(std::move(path)) {}

  [[noreturn]] void refuse(std::string_view field, std::string_view why) const {
    std::string where = path_;
    if (!where.empty() && !field.empty()) where += '.';
    where += field;
    throw Error(Errc::invalid_argument, file_ + ": " + where + ": " + std::string(why));
  }

  std::string text(std::string_view field) const {
    const auto* node = table_.get(field);
    if (node == nullptr) return {};
    const auto* value = node->as_string();
    if (value == nullptr) refuse(field, "it is not a string");
    return value->get();
  }

  std::optional<bool> flag(std::string_view field) const {
    const auto* node = table_.get(field);
    if (node == nullptr) return std::nullopt;
    const auto* value = node->as_boolean();
    if (value == nullptr) refuse(field, "it is neither true nor false");
    return value->get();
  }

  /// A string, or a list of strings.
  std::vector<std::string> texts(std::string_view field) const {
    const auto* node = table_.get(field);
    if (node == nullptr) return {};
    return texts_of(*node, field);
  }

  std::vector<ClientCertificate> clients() const {
    std::vector<ClientCertificate> result;
    const auto* node = table_.get("client");
    if (node == nullptr) return result;
    const auto* list = node->as_array();
    if (list == nullptr) {
      result.push_back({absolute(texts_of(*node, "client").front()), {}});
      return result;
    }
    if (list->size() > max_list) refuse("client", "the list is too long");
    for (const auto& item : *list) {
      const auto files = texts_of(item, "client");
      if (item.is_array() && files.size() != 2) {
        refuse("client", "a pair is a certificate file and a key file");
      }
      const bool has_key = files.size() == 2 && !files[1].empty();
      result.push_back({absolute(files[0]), has_key ? absolute(files[1]) : std::string()});
    }
    return result;
  }

  HttpFields headers() const {
    HttpFields result;
    const auto* node = table_.get("header");
    if (node == nullptr) return result;
    const auto* headers = node->as_table();
    if (headers == nullptr) refuse("header", "it is not a table");
    for (const auto& [key, value] : *headers) {
      const std::string name(key.str());
      const std::string field = "header." + name;
      if (name.empty() || !std::all_of(name.begin(), name.end(), is_token_character)) {
        refuse("header", "a name is malformed");
      }
      // These are what the request itself consists of.
      static constexpr std::array<std::string_view, 5> reserved = {"Host", "Content-Length", "Connection",
                                                                   "Transfer-Encoding", "Range"};
      if (std::any_of(reserved.begin(), reserved.end(), [&](auto own) { return iequals(own, name); })) {
        refuse(field, "it cannot be set");
      }
      for (auto& text : texts_of(value, field)) {
        if (std::any_of(text.begin(), text.end(), is_control)) refuse(field, "it has control characters");
        result.add(name, std::move(text));
      }
    }
    return result;
  }

  std::string absolute(const std::string& file) const {
    return (std::filesystem::path(file_).parent_path() / file).lexically_normal();
  }

 private:
  std::vector<std::string> texts_of(const toml::node& node, std::string_view field) const {
    std::vector<std::string> result;
    if (const auto* one = node.as_string()) {
      result.push_back(one->get());
    } else if (const auto* list = node.as_array()) {
      if (list->size() > max_list) refuse(field, "the list is too long");
      for (const auto& item : *list) {
        const auto* text = item.as_string();
        if (text == nullptr) refuse(field, "an item is not a string");
        result.push_back(text->get());
      }
    } else {
      refuse(field, "it is neither a string nor a list");
    }
    return result;
  }

  const toml::table& table_;
  std::string file_;
  std::string path_;
};

void read_capabilities(const FieldReader& fields, HostEntry& entry) {
  const auto names = fields.texts("capabilities");
  if (names.empty()) return;
  const auto has = [&](std::string_view wanted) {
    return std::any_of(names.begin(), names.end(), [&](const auto& name) { return iequals(name, wanted); });
  };
  for (const auto& name : names) {
    static constexpr std::array<std::string_view, 4> known = {"pull", "resolve", "push", "referrers"};
    if (std::none_of(known.begin(), known.end(), [&](auto one) { return iequals(one, name); })) {
      fields.refuse("capabilities",
                    "\"" + sanitise(name, 50) + "\" is none of pull, resolve, push, referrers");
    }
  }
  entry.resolve = has("resolve");
  entry.pull = has("pull");
}

void read_url(const FieldReader& fields, std::string text, std::string_view field, HostEntry& entry) {
  if (!text.starts_with("http://") && !text.starts_with("https://")) text = "https://" + text;
  const bool override_path = fields.flag("override_path").value_or(false);
  try {
    const auto url = Url::parse(text);
    if (url.target().find('?') != std::string::npos) fields.refuse(field, "the URL has a query");
    entry.origin = url.origin();
    entry.api_root = std::filesystem::path(url.target()).lexically_normal();
  } catch (const Error& error) {
    if (error.code() == Errc::invalid_argument) throw;
    fields.refuse(field, error.message());
  }
  while (entry.api_root.ends_with('/')) entry.api_root.pop_back();
  if (!override_path && !entry.api_root.ends_with("/v2")) entry.api_root += "/v2";
}

void read_fields(const FieldReader& fields, HostEntry& entry) {
  read_capabilities(fields, entry);
  for (const auto& file : fields.texts("ca")) entry.ca_files.push_back(fields.absolute(file));
  entry.clients = fields.clients();
  entry.skip_verify = fields.flag("skip_verify");
  entry.headers = fields.headers();
  const auto timeout = fields.text("dial_timeout");
  if (timeout.empty()) return;
  const auto duration = parse_duration(timeout);
  if (!duration) fields.refuse("dial_timeout", "it is not a duration such as 3s or 500ms");
  entry.dial_timeout = std::chrono::ceil<std::chrono::milliseconds>(*duration);
}

bool is_line_separator(std::string_view rest) {
  return rest.starts_with("\xC2\x85") || rest.starts_with("\xE2\x80\xA8") || rest.starts_with("\xE2\x80\xA9");
}

// How the string or comment that begins here ends; empty if none does.
std::string_view closing_of(std::string_view rest) {
  for (const std::string_view quotes : {"\"\"\"", "'''", "\"", "'"}) {
    if (rest.starts_with(quotes)) return quotes;
  }
  return rest.starts_with('#') ? "\n" : "";
}

enum class Word { none, name, number };

// What stands between white space and punctuation. toml++ looks for the end of a number past everything else,
// so a quotation mark there does not begin a string.
Word word_after(Word word, char c) {
  if (std::string_view(" \t\r\n,]}#").find(c) != std::string_view::npos) return Word::none;
  if (word == Word::number) return word;
  if (std::string_view("=[{\"'").find(c) != std::string_view::npos) return Word::none;
  if (word == Word::name) return word;
  return (c >= '0' && c <= '9') || c == '+' || c == '-' ? Word::number : Word::name;
}

/// The line of a character that TOML knows only in strings and comments, or nowhere. toml++ 3.3 takes it to
/// be impossible (__builtin_unreachable), so it must not get to see it.
std::optional<std::size_t> line_of_stray_character(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark
  std::size_t line = 1;
  std::string_view closing;
  Word word = Word::none;
  while (!text.empty()) {
    std::size_t step = 1;
    const bool ends = !closing.empty() && text.starts_with(closing);
    if (text.front() == '\n') {
      // A string on one line does not end there, which the parser will say.
      if (closing.size() == 1 && !ends) return std::nullopt;
      ++line;
    }
    if (is_line_separator(text)) return line;
    if (ends) {
      step = closing.size();
      // Up to two quotes may stand before those that close a string of many lines.
      while (step >= 3 && step < 5 && step < text.size() && text[step] == closing[0]) ++step;
      closing = {};
    } else if (closing.empty()) {
      if (static_cast<unsigned char>(text.front()) >= 0x80) return line;
      word = word_after(word, text.front());
      closing = word == Word::number ? std::string_view() : closing_of(text);
      if (closing != "\n") step = std::max<std::size_t>(closing.size(), 1);
    } else if (closing[0] == '"' && (text.starts_with("\\\"") || text.starts_with("\\\\"))) {
      step = 2;
    }
    text.remove_prefix(std::min(step, text.size()));
  }
  return std::nullopt;
}

toml::table parse_toml(std::string_view text, const std::string& file) {
  if (const auto line = line_of_stray_character(text)) {
    throw Error(
        Errc::invalid_argument,
        file + ": line " + std::to_string(*line) +
            ": there is a character beyond ASCII outside of strings and comments, or a line separator");
  }
  try {
    auto parsed = toml::parse(text);
    if (parsed) return std::move(parsed).table();
    const auto& error = parsed.error();
    throw Error(Errc::invalid_argument, file + ": line " + std::to_string(error.source().begin.line) + ": " +
                                            sanitise(error.description(), 300));
  } catch (const std::logic_error&) {
    throw Error(Errc::invalid_argument, file + ": it is not TOML");
  }
}

HostEntry read_host(const toml::key& key, const toml::node& node, const std::string& file) {
  const std::string url(key.str());
  const std::string path = "host.\"" + printable_url(url) + "\"";
  const auto* table = node.as_table();
  if (table == nullptr) throw Error(Errc::invalid_argument, file + ": " + path + ": it is not a table");
  const FieldReader fields(*table, file, path);
  if (url.empty()) fields.refuse("", "it is empty");
  HostEntry entry;
  read_url(fields, url, "", entry);
  read_fields(fields, entry);
  return entry;
}

}  // namespace

std::vector<HostEntry> parse_hosts_toml(std::string_view text, const std::string& file) {
  if (text.size() > max_hosts_toml_bytes) {
    throw Error(Errc::invalid_argument, file + ": it is larger than 1 MiB");
  }
  const auto root = parse_toml(text, file);
  const FieldReader fields(root, file, {});
  std::vector<std::pair<toml::source_position, HostEntry>> hosts;
  if (const auto* node = root.get("host")) {
    const auto* table = node->as_table();
    if (table == nullptr) fields.refuse("host", "it is not a table");
    if (table->size() > max_hosts) fields.refuse("host", "there are more than 100");
    // The tables of TOML have no order, but their keys know where they came from.
    for (const auto& [key, value] : *table) {
      hosts.emplace_back(key.source().begin, read_host(key, value, file));
    }
    std::sort(hosts.begin(), hosts.end(),
              [](const auto& left, const auto& right) { return left.first < right.first; });
  }
  std::vector<HostEntry> result;
  result.reserve(hosts.size() + 1);
  for (auto& host : hosts) result.push_back(std::move(host.second));
  HostEntry registry;
  const auto server = fields.text("server");
  if (!server.empty()) read_url(fields, server, "server", registry);
  read_fields(fields, registry);
  result.push_back(std::move(registry));
  return result;
}

}  // namespace lazypull
