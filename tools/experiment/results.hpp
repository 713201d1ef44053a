#pragma once

#include "tools/experiment/matrix.hpp"

#include <boost/json/object.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace lazypull::experiment {

/// One bar of a waterfall.
struct SpanRow {
  std::string name;
  std::string category;
  std::string object;
  double start_ms = 0;  ///< since the pull began
  double duration_ms = 0;
  std::size_t depth = 0;
};

/// What one run has shown: a line of the results. Times are milliseconds since the pull began or lengths in
/// them, sizes bytes, CPU seconds. What was not measured is absent, never 0.
struct Row {
  Coordinates at;
  std::string experiment;
  std::size_t order = 0;                               ///< of the run among all
  std::string started;                                 ///< RFC 3339, UTC
  std::string error;                                   ///< why the run failed; empty if it did not
  std::vector<std::pair<std::string, double>> times;   ///< metrics, such as pull, started, first_line, ready
  std::vector<std::pair<std::string, double>> phases;  ///< lengths that follow each other, from pull to ready
  std::vector<std::pair<std::string, double>> amounts;  ///< bytes, CPU seconds, memory
  std::vector<SpanRow> spans;                           ///< of the pull; may be empty
  boost::json::object environment;                      ///< versions and machine

  bool ok() const noexcept { return error.empty(); }
  /// A metric among times and amounts.
  std::optional<double> metric(std::string_view name) const;
};

struct ResultLimits {
  static constexpr std::size_t line_bytes = 4U << 20U;
  static constexpr std::size_t file_bytes = std::size_t{1} << 30U;
  static constexpr std::size_t rows = 200'000;
  static constexpr std::size_t metrics = 64;
  static constexpr std::size_t spans = 5000;
};

/// One line without its line feed.
std::string row_json(const Row& row);
/// Throws Error{bad_response}; `what` names the line.
Row parse_row(std::string_view line, const std::string& what);

/// All rows of a file of JSON Lines; empty lines count for nothing. A last line without a line feed is of a
/// run that was cut off, and left out. Throws Error{not_found}, {permission_denied}, {bad_response}.
std::vector<Row> read_results(const std::filesystem::path& file);

/// A file of results to which rows are added: each is one write, and on the disk when `append` returns.
class ResultsFile {
 public:
  /// Opens or makes the file, reads what it has and cuts an incomplete last line off. Throws
  /// Error{failed_precondition} for rows of another experiment or while another process has it open.
  ResultsFile(const std::filesystem::path& file, const std::string& experiment);
  ResultsFile(const ResultsFile&) = delete;
  ResultsFile& operator=(const ResultsFile&) = delete;
  ~ResultsFile();

  /// Whether this run is there and did not fail.
  bool has(const Coordinates& at) const { return done_.contains(at.id()); }
  std::size_t rows() const noexcept { return rows_; }
  void append(const Row& row);

 private:
  std::string name_;
  int descriptor_ = -1;
  std::set<std::string> done_;
  std::size_t rows_ = 0;
};

}  // namespace lazypull::experiment
