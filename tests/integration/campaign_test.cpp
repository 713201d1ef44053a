// Seeded pulls over a line on which everything goes wrong, interrupted at random: each brings exactly the
// image or fails with an error that has a name, and after each the store verifies and nothing is left over.
//
// LAZYPULL_CAMPAIGN_PULLS sets how many there are, LAZYPULL_CAMPAIGN_SEED which. Pulls into one store follow
// each other as a chain; LAZYPULL_CAMPAIGN_CHAIN repeats a single one.

#include "tests/integration/support/campaign_sources.hpp"
#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/support/campaign_plan.hpp"
#include "tests/support/fault_proxy_thread.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <set>
#include <sstream>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::milliseconds;

constexpr std::size_t chain_length = 6;
constexpr std::size_t workers = 6;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

/// What a run has found, by all workers.
class Findings {
 public:
  void count(const std::string& what) {
    const std::lock_guard lock(mutex_);
    ++counts_[what];
  }
  void fail(const std::string& what) {
    const std::lock_guard lock(mutex_);
    failures_.push_back(what);
  }
  std::string counts() const {
    std::string text;
    for (const auto& [what, number] : counts_) text += "  " + what + ": " + std::to_string(number) + "\n";
    return text;
  }
  const std::vector<std::string>& failures() const { return failures_; }
  bool too_many() const {
    const std::lock_guard lock(mutex_);
    return failures_.size() >= 10;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> counts_;
  std::vector<std::string> failures_;
};

class Campaign : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry = new Registry;
    sources = new std::vector<CampaignSource>(make_campaign_sources());
    for (auto& source : *sources) {
      StoreLazypull clean;
      const auto reference = registry->store(source.image, source.name);
      clean.run_ok({"pull", reference});
      source.tree = read_snapshot_tree(*clean.open(), source.top_chain_id);
    }
  }
  static void TearDownTestSuite() {
    delete sources;
    delete registry;
  }

  static Registry* registry;
  static std::vector<CampaignSource>* sources;
  std::uint64_t seed = number_from("LAZYPULL_CAMPAIGN_SEED", 1);
  std::uint64_t pulls = number_from("LAZYPULL_CAMPAIGN_PULLS", 150);
};
Registry* Campaign::registry = nullptr;
std::vector<CampaignSource>* Campaign::sources = nullptr;

/// How one process of a pull ended.
struct Ending {
  int exit_code = 0;
  std::string code;
  std::string message;
  std::string output;
  std::string errors;

  bool good() const { return exit_code == 0; }
  bool killed() const { return exit_code == 128 + SIGKILL; }
  std::string text() const { return "exit code " + std::to_string(exit_code) + ", " + code + ": " + message; }
};

Ending ending_of(const Process& process, int exit_code) {
  Ending ending;
  ending.exit_code = exit_code;
  ending.output = process.out();
  ending.errors = process.err();
  boost::system::error_code failure;
  const auto value = json::parse(ending.output, failure);
  if (failure || !value.is_object()) return ending;
  if (const auto* error = value.as_object().if_contains("error")) {
    ending.code = std::string(error->at("code").as_string());
    ending.message = std::string(error->at("message").as_string());
  }
  return ending;
}

/// What is wrong with the way in which a pull has failed; empty if nothing is.
std::string fault_of(const Ending& ending, const CampaignPull& pull, const std::vector<std::string>& hosts) {
  if (ending.killed()) return pull.signal == SIGKILL ? "" : "it died";
  if (ending.exit_code == 128 + SIGTERM) return pull.signal == SIGTERM ? "" : "nobody terminated it";
  if (ending.exit_code == 128 + SIGINT) return pull.signal == SIGINT ? "" : "nobody interrupted it";
  if (ending.exit_code == 124) return pull.has_time_limit ? "" : "it did not end by itself";
  static const std::set<int> documented{3, 4, 5, 6};
  if (!documented.contains(ending.exit_code)) return "no exit code for what went wrong";
  if (ending.code.empty() || ending.code == "internal_error") return "the error has no name";
  const auto names = [&](const std::string& what) { return ending.message.find(what) != std::string::npos; };
  const bool named = names("sha256:") || std::any_of(hosts.begin(), hosts.end(), names);
  if (!named) return "the error names neither reference, digest nor host";
  if (pull.as_mirror) return "the registry itself was well";
  return "";
}

std::string log_of(const FaultProxyThread& proxy) {
  std::string text;
  for (const auto& record : proxy.records()) text += "  " + fault_log_line(record) + "\n";
  constexpr std::size_t limit = 20'000;
  return text.size() > limit ? text.substr(text.size() - limit) : text;
}

/// Thrown where a promise is broken.
struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

/// The line of one worker: the registry, and a proxy before it.
class Line {
 public:
  explicit Line(const Registry& registry) : registry_(registry), proxy_("http://" + registry.host()) {}

  FaultProxyThread& proxy() { return proxy_; }
  std::vector<std::string> hosts() const { return {proxy_.host(), registry_.host()}; }

  std::string reference(const CampaignPull& pull, const CampaignSource& source) const {
    return (pull.as_mirror ? registry_.host() : proxy_.host()) + "/" + source.name;
  }
  Argv command(const CampaignPull& pull, const CampaignSource& source) {
    Argv argv{pull.fetch ? "fetch" : "pull", reference(pull, source)};
    argv.insert(argv.end(), pull.flags.begin(), pull.flags.end());
    if (pull.as_mirror) {
      write_file(hosts_ / registry_.host() / "hosts.toml",
                 "server = \"http://" + registry_.host() + "\"\n[host.\"" + proxy_.url() +
                     "\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
      argv.insert(argv.end(), {"--hosts-dir", hosts_.path()});
    }
    argv.insert(argv.end(), {"--output", "json"});
    return argv;
  }

 private:
  const Registry& registry_;
  FaultProxyThread proxy_;
  TempDir hosts_{"hosts"};
};

/// Starts the pull, once or twice, interrupts it, and waits for its end.
template <class Start>
std::vector<Ending> run_pull(const CampaignPull& pull, Start start) {
  std::vector<Process> processes;
  for (int i = 0; i < (pull.twice ? 2 : 1); ++i) processes.push_back(start());
  if (pull.signal != 0) {
    if (!processes[0].wait(milliseconds(pull.signal_after_ms))) processes[0].signal(pull.signal);
  }
  std::vector<Ending> endings;
  for (auto& process : processes) {
    const auto code = process.wait(std::chrono::seconds(100));
    if (!code) throw Broken("it hangs\n" + process.err());
    endings.push_back(ending_of(process, *code));
  }
  return endings;
}

void count(Findings& findings, const CampaignPull& pull, const Ending& ending) {
  const std::string where = pull.as_mirror ? " (bad mirror)" : "";
  findings.count(ending.good() ? "succeeded" + where
                               : "exit code " + std::to_string(ending.exit_code) + " " + ending.code);
}

struct Judgement {
  bool killed = false;  ///< one of the processes
  bool good = false;    ///< one of them has succeeded
};

/// Throws unless each process has succeeded, or failed as it may.
Judgement judge(Findings& findings, const CampaignPull& pull, const std::vector<Ending>& endings,
                const Line& line) {
  Judgement judgement;
  auto judged = pull;
  for (const auto& ending : endings) {
    count(findings, pull, ending);
    judgement.killed = judgement.killed || ending.killed();
    judgement.good = judgement.good || ending.good();
    const auto fault = ending.good() ? std::string() : fault_of(ending, judged, line.hosts());
    if (!fault.empty()) throw Broken(fault + ": " + ending.text() + "\n" + ending.errors);
    judged.signal = 0;  // only the first is sent one
  }
  return judgement;
}

/// Pulls into one embedded store.
class EmbeddedChain {
 public:
  EmbeddedChain(Line& line, const std::vector<CampaignSource>& sources, Findings& findings)
      : line_(line), sources_(sources), findings_(findings) {}

  void step(const CampaignPull& pull) {
    const auto& source = sources_[pull.image];
    prepare(pull);
    // Also one that fails may have unpacked layers of which it keeps no blob.
    discarded_ = discarded_ || pull.discard;
    line_.proxy().use(pull.profile, pull.seed);
    const auto command = line_.command(pull, source);
    const auto endings = run_pull(pull, [&] { return lazypull_.start(command); });
    const auto [killed, good] = judge(findings_, pull, endings, line_);
    check_store(killed);
    if (good) check_image(pull, source);
  }

 private:
  void prepare(const CampaignPull& pull) {
    if (!pull.clean_before) return;
    const auto store = lazypull_.open();
    for (const auto& image : store->images().list()) store->images().remove(image.record.name);
    GarbageOptions options;
    if (pull.drop_partial) options.ingest_age = std::chrono::seconds(0);
    store->collect_garbage(options);
  }

  json::value verify() {
    const auto outcome = lazypull_.run({"content", "verify"});
    if (outcome.process.exit_code != 0) throw Broken("the store does not verify: " + outcome.process.err);
    return outcome.json;
  }

  void check_store(bool killed) {
    const auto first = verify();
    // Without a kill there is nothing to clean up after; with one, garbage collection does.
    if (killed) lazypull_.open()->collect_garbage();
    const auto verdict = killed ? verify() : first;
    const auto& leftovers = verdict.at("leftovers").as_array();
    if (!leftovers.empty()) throw Broken("left over: " + json::serialize(leftovers));
    check_partial(verdict.at("partial").as_array());
    check_files();
    const auto store = lazypull_.open();
    auto wrong = faults(*store);
    std::erase_if(wrong, [](const std::string& fault) { return fault.starts_with("ingest "); });
    if (!wrong.empty()) throw Broken("the store is wrong: " + joined(wrong));
  }

  /// A partial blob is one of an image that was pulled, and no longer than the blob.
  void check_partial(const json::array& partial) {
    std::set<std::string> refs;
    for (const auto& ingest : partial) {
      const std::string ref(ingest.at("ref").as_string());
      if (!refs.insert(ref).second) throw Broken("two partial blobs " + ref);
      const auto digest = ref.substr(std::min(ref.size(), ref.find("sha256:")));
      const auto offset = ingest.at("offset").to_number<std::uint64_t>();
      const bool known = std::any_of(sources_.begin(), sources_.end(), [&](const CampaignSource& source) {
        const auto blob = source.image.blobs.find(digest);
        return blob != source.image.blobs.end() && offset <= blob->second.size();
      });
      if (!known) throw Broken("a partial blob " + ref + " of " + std::to_string(offset) + " bytes");
    }
    if (!partial.empty()) findings_.count("stores with partial blobs");
  }

  void check_files() {
    static const std::set<std::string> known{
        "blobs",           "index.json",    "ingest", "lazypull.db", "lazypull.db-shm", "layers",
        "lazypull.db-wal", "lazypull.lock", "leases", "oci-layout",  "snapshots",       "trash"};
    for (const auto& entry : fs::directory_iterator(lazypull_.directory())) {
      if (!known.contains(entry.path().filename())) throw Broken("a file " + entry.path().string());
    }
  }

  void check_image(const CampaignPull& pull, const CampaignSource& source) {
    const auto store = lazypull_.open();
    const auto name = line_.reference(pull, source);
    const auto record = store->images().find(name);
    if (!record) throw Broken("no record of " + name);
    if (record->record.target.digest.str() != source.image.digest)
      throw Broken("the record is of another image");
    std::set<std::string> content;
    for (const auto& blob : store->content().list()) content.insert(blob.info.digest.str());
    for (const auto& digest : source.blobs) {
      const bool needed = pull.fetch || !discarded_ || !source.layer_blobs.contains(digest);
      if (needed && !content.contains(digest)) throw Broken("content " + digest + " is missing");
    }
    if (pull.fetch) return;
    const auto difference = diff(source.tree, read_snapshot_tree(*store, source.top_chain_id),
                                 {.ignore_directory_mtime = true, .ignore_root = true});
    if (!difference.empty()) throw Broken("other files: " + joined(difference));
  }

  Line& line_;
  const std::vector<CampaignSource>& sources_;
  Findings& findings_;
  StoreLazypull lazypull_;
  bool discarded_ = false;  // by this or an earlier pull, so that layers may be there without their blobs
};

TEST_F(Campaign, EveryPullIntoTheEmbeddedStoreIsRightOrFailsByName) {
  Findings findings;
  const auto chains = (pulls + chain_length - 1) / chain_length;
  const auto single = number_from("LAZYPULL_CAMPAIGN_CHAIN", UINT64_MAX);
  std::cout << "LAZYPULL_CAMPAIGN_SEED=" << seed << " LAZYPULL_CAMPAIGN_PULLS=" << pulls << std::endl;
  std::atomic<std::uint64_t> next = single == UINT64_MAX ? 0 : single;
  const auto end = single == UINT64_MAX ? chains : single + 1;
  const auto work = [&] {
    Line line(*registry);
    for (auto chain = next++; chain < end && !findings.too_many(); chain = next++) {
      Dice dice(seed, chain);
      EmbeddedChain store(line, *sources, findings);
      std::string history;
      for (std::size_t i = 0; i < chain_length; ++i) {
        const auto pull = random_pull(dice, sources->size(), 250);
        try {
          store.step(pull);
        } catch (const std::exception& broken) {
          std::ostringstream text;
          text << "chain " << chain << " of seed " << seed << ", pull " << i << ": " << broken.what() << '\n'
               << describe(pull) << '\n'
               << log_of(line.proxy()) << "before that:\n"
               << history;
          findings.fail(text.str());
          break;
        }
        history += describe(pull) + "\n";
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < workers; ++i) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  std::cout << findings.counts();
  for (const auto& failure : findings.failures()) ADD_FAILURE() << failure;
}

/// Pulls into one containerd.
class ContainerdChain {
 public:
  ContainerdChain(Line& line, const std::vector<CampaignSource>& sources, Findings& findings)
      : line_(line), sources_(sources), findings_(findings) {}

  void step(const CampaignPull& pull) {
    const auto& source = sources_[pull.image];
    if (pull.clean_before) remove_images();
    line_.proxy().use(pull.profile, pull.seed);
    const auto command = line_.command(pull, source);
    Lazypull lazypull(containerd_);
    const ProcessOptions options{.env = {{"DOCKER_CONFIG", "/nonexistent"}, {"HOME", "/nonexistent"}}};
    // It adds --output json by itself.
    const Argv without_output(command.begin(), command.end() - 2);
    const auto endings = run_pull(pull, [&] { return lazypull.start(without_output, options); });
    const auto [killed, good] = judge(findings_, pull, endings, line_);
    check_state(killed);
    if (good) check_image(pull, source);
  }

 private:
  void remove_images() {
    for (const auto& [name, image] : read_state(containerd_).images)
      containerd_.ctr_ok({"images", "remove", name});
    collect_garbage(containerd_);
  }

  void check_state(bool killed) {
    // The lease of a process that was killed would expire by itself, after a day.
    if (killed) {
      for (const auto& [id, lease] : read_state(containerd_).leases)
        containerd_.ctr_ok({"leases", "delete", id});
      collect_garbage(containerd_);
    }
    const auto state = read_state(containerd_);
    for (const auto& [id, lease] : state.leases) throw Broken("left over: lease " + id);
    for (const auto& [key, snapshot] : state.snapshots) {
      if (snapshot.kind != "committed") throw Broken("left over: snapshot " + key);
    }
    for (const auto& [ref, ingest] : state.ingests) {
      if (ingest.offset > 2'000'000)
        throw Broken("a partial blob " + ref + " of " + std::to_string(ingest.offset));
    }
    const auto blobs = containerd_.root() / "io.containerd.content.v1.content/blobs/sha256";
    if (!fs::exists(blobs)) return;
    for (const auto& entry : fs::directory_iterator(blobs)) {
      const std::string name = entry.path().filename();
      if (digest_of(read_file(entry.path())) != "sha256:" + name)
        throw Broken("blob " + name + " has other bytes");
    }
  }

  void check_image(const CampaignPull& pull, const CampaignSource& source) {
    const auto name = line_.reference(pull, source);
    const auto state = read_state(containerd_);
    const auto record = state.images.find(name);
    if (record == state.images.end()) throw Broken("no record of " + name);
    if (record->second.digest != source.image.digest) throw Broken("the record is of another image");
    if (pull.fetch) return;
    const auto difference = diff(source.tree, read_image_tree(containerd_, "overlayfs", name),
                                 {.ignore_directory_mtime = true, .ignore_root = true});
    if (!difference.empty()) throw Broken("other files: " + joined(difference));
  }

  Line& line_;
  const std::vector<CampaignSource>& sources_;
  Findings& findings_;
  Containerd containerd_;
};

TEST_F(Campaign, EveryPullIntoContainerdIsRightOrFailsByName) {
  Findings findings;
  const auto count = std::max<std::uint64_t>(pulls / 10, 1);
  std::cout << "LAZYPULL_CAMPAIGN_SEED=" << seed << ", " << count << " pulls" << std::endl;
  Line line(*registry);
  ContainerdChain chain(line, *sources, findings);
  Dice dice(seed, 1'000'000);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto pull = random_pull(dice, sources->size(), 300);
    try {
      chain.step(pull);
    } catch (const std::exception& broken) {
      ADD_FAILURE() << "pull " << i << " of seed " << seed << ": " << broken.what() << '\n'
                    << describe(pull) << '\n'
                    << log_of(line.proxy());
      break;
    }
  }
  std::cout << findings.counts();
}

}  // namespace
}  // namespace lazypull::test
