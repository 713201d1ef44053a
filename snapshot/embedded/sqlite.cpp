#include "snapshot/embedded/sqlite.hpp"

#include "engine/error.hpp"

#include <system_error>

#include <cerrno>
#include <limits>
#include <sqlite3.h>
#include <utility>

namespace lazypull {

namespace {

constexpr int busy_milliseconds = 30'000;

Errc errc_of(int code) noexcept {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Errc::out_of_space;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
      return Errc::permission_denied;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Errc::unavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
      return Errc::failed_precondition;
    default:
      return Errc::internal;
  }
}

}  // namespace

void Database::Finalize::operator()(sqlite3_stmt* statement) const noexcept {
  sqlite3_finalize(statement);
}

Database::Database(std::filesystem::path file) : file_(std::move(file)) {
  constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  errno = 0;
  const int code = sqlite3_open_v2(file_.c_str(), &connection_, flags, nullptr);
  // The members' destructors do not close what a constructor that throws has opened.
  try {
    if (code != SQLITE_OK) fail(code, "open");
    sqlite3_extended_result_codes(connection_, 1);
    sqlite3_busy_timeout(connection_, busy_milliseconds);
    execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;");
  } catch (...) {
    sqlite3_close(connection_);
    throw;
  }
}

Database::~Database() {
  idle_.clear();
  sqlite3_close(connection_);
}

void Database::execute(const char* sql) {
  errno = 0;
  const int code = sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code, sql);
}

std::int64_t Database::last_id() const noexcept {
  return sqlite3_last_insert_rowid(connection_);
}

std::int64_t Database::changes() const noexcept {
  return sqlite3_changes64(connection_);
}

Database::Prepared Database::take(const std::string& sql) {
  if (auto found = idle_.extract(sql)) return std::move(found.mapped());
  sqlite3_stmt* statement = nullptr;
  errno = 0;
  const int code = sqlite3_prepare_v3(connection_, sql.c_str(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) fail(code, sql);
  return Prepared(statement);
}

void Database::fail(int code, std::string_view what) const {
  // SQLite knows a full disk only from writing to it, and no quota; what the system said it keeps to itself
  // where a COMMIT fails. Whoever comes here has cleared errno before SQLite's turn.
  const int last = errno;
  const int primary = code & 0xff;
  const int number = primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN ? last : 0;
  const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;
  std::string message = file_.string() + ": ";
  message += connection_ != nullptr ? sqlite3_errmsg(connection_) : sqlite3_errstr(code);
  if (number != 0) message += ": " + std::generic_category().message(number);
  message.append(" (").append(what).append(")");
  throw Error(full ? Errc::out_of_space : errc_of(code), std::move(message));
}

Query::Query(Database& database, std::string sql)
    : database_(database), sql_(std::move(sql)), statement_(database.take(sql_)) {}

Query::~Query() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  try {
    database_.idle_.emplace(std::move(sql_), std::move(statement_));
  } catch (const std::bad_alloc&) {
    statement_.reset();  // it is prepared anew the next time
  }
}

bool Query::next() {
  errno = 0;
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_.fail(code, sql_);
  return false;
}

std::int64_t Query::run() {
  if (next()) throw Error(Errc::internal, "a statement returned rows that nobody reads: " + sql_);
  return database_.changes();
}

std::string Query::text(int column) const {
  const auto* bytes = sqlite3_column_text(statement_.get(), column);
  if (bytes == nullptr) return {};
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return {reinterpret_cast<const char*>(bytes), size};
}

std::int64_t Query::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

bool Query::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

void Query::bind_one(std::string_view text) {
  const int code =
      sqlite3_bind_text64(statement_.get(), ++bound_, text.data() != nullptr ? text.data() : "", text.size(),
                          SQLITE_TRANSIENT, SQLITE_UTF8);  // NOLINT: the macro is a cast of -1
  if (code != SQLITE_OK) database_.fail(code, sql_);
}

void Query::bind_one(std::int64_t number) {
  const int code = sqlite3_bind_int64(statement_.get(), ++bound_, number);
  if (code != SQLITE_OK) database_.fail(code, sql_);
}

void Query::bind_one(std::uint64_t number) {
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    throw Error(Errc::invalid_argument, "a size of " + std::to_string(number) + " bytes cannot be recorded");
  }
  bind_one(static_cast<std::int64_t>(number));
}

void Query::bind_one(const std::optional<std::int64_t>& number) {
  if (number) return bind_one(*number);
  const int code = sqlite3_bind_null(statement_.get(), ++bound_);
  if (code != SQLITE_OK) database_.fail(code, sql_);
}

}  // namespace lazypull
