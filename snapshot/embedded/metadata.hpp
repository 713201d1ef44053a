#pragma once

#include "snapshot/embedded/rows.hpp"
#include "snapshot/embedded/sqlite.hpp"

#include <filesystem>
#include <mutex>
#include <type_traits>
#include <utility>

namespace lazypull {

/// Whether a transaction is on the disk when it has been committed. One that is not survives the death of the
/// process, but perhaps not a power failure; those before a flushed one are flushed with it.
enum class Flush { later, now };

/// The embedded store's database. Blocking; may be used by several threads, one transaction after another,
/// and by several processes of one host. A process that is killed leaves what it had committed.
class Metadata {
 public:
  /// Opens the database and brings its tables up to date. Throws Error{failed_precondition} for one that a
  /// later version has written. With `usual` now every transaction that writes is flushed.
  explicit Metadata(const std::filesystem::path& file, Flush usual = Flush::later);

  /// Calls `work(Rows&)`, which sees one state of the database, whatever others write meanwhile.
  template <class Work>
  auto read(Work work) {
    const std::lock_guard lock(mutex_);
    return in_transaction("BEGIN", work);
  }

  /// Calls `work(Rows&)` while nobody else writes, in any process. Commits when it returns; nothing has
  /// happened to the database if it throws.
  template <class Work>
  auto write(Work work, Flush flush = Flush::later) {
    const std::lock_guard lock(mutex_);
    const Synchronous synchronous(database_, usual_ == Flush::now ? usual_ : flush);
    return in_transaction("BEGIN IMMEDIATE", work);
  }

 private:
  class Synchronous {
   public:
    Synchronous(Database& database, Flush flush);
    ~Synchronous();

   private:
    Database& database_;
    Flush flush_;
  };

  class Transaction {
   public:
    Transaction(Database& database, const char* begin);
    ~Transaction();
    void commit();

   private:
    Database& database_;
    bool open_ = true;
  };

  template <class Work>
  auto in_transaction(const char* begin, Work& work) {
    Rows rows(database_);
    Transaction transaction(database_, begin);
    if constexpr (std::is_void_v<std::invoke_result_t<Work&, Rows&>>) {
      work(rows);
      transaction.commit();
    } else {
      auto result = work(rows);
      transaction.commit();
      return result;
    }
  }

  std::mutex mutex_;
  Database database_;
  Flush usual_;
};

}  // namespace lazypull
