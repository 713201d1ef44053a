#pragma once

#include "engine/digest.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace lazypull {

/// One connection to an SQLite database in WAL mode. To be used by one thread at a time. Throws Error that
/// names the file: out_of_space, permission_denied, unavailable (locked by others for longer than the busy
/// timeout), failed_precondition (not a database, or damaged), internal.
class Database {
 public:
  /// Opens the file, creating it if need be. WAL keeps an index in shared memory, so all processes that use
  /// the database must run on one host.
  explicit Database(std::filesystem::path file);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  /// One or more statements without parameters.
  void execute(const char* sql);
  /// Of the last INSERT.
  std::int64_t last_id() const noexcept;
  /// Rows touched by the last statement.
  std::int64_t changes() const noexcept;

 private:
  friend class Query;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  using Prepared = std::unique_ptr<sqlite3_stmt, Finalize>;

  Prepared take(const std::string& sql);
  [[noreturn]] void fail(int code, std::string_view what) const;

  std::filesystem::path file_;
  sqlite3* connection_ = nullptr;
  std::multimap<std::string, Prepared> idle_;  ///< statements are prepared once and used again
};

/// One execution of a prepared statement: bind, then `next` for every row.
class Query {
 public:
  Query(Database& database, std::string sql);
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query();

  /// Binds the parameters in their order.
  template <class... Values>
  Query& bind(const Values&... values) {
    (bind_one(values), ...);
    return *this;
  }
  /// True if there is a row to look at.
  bool next();
  /// For statements that return no rows. Returns how many rows were touched.
  std::int64_t run();

  std::string text(int column) const;
  std::int64_t integer(int column) const;
  bool is_null(int column) const;

 private:
  void bind_one(std::string_view text);
  void bind_one(const std::string& text) { bind_one(std::string_view(text)); }
  void bind_one(const char* text) { bind_one(std::string_view(text)); }
  void bind_one(const Digest& digest) { bind_one(std::string_view(digest.str())); }
  void bind_one(std::int64_t number);
  void bind_one(std::uint64_t number);
  void bind_one(int number) { bind_one(std::int64_t{number}); }
  void bind_one(const std::optional<std::int64_t>& number);

  Database& database_;
  std::string sql_;
  Database::Prepared statement_;
  int bound_ = 0;
};

}  // namespace lazypull
