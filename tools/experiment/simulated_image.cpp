#include "tools/experiment/simulated_image.hpp"

#include "engine/chain_id.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace lazypull::experiment {

namespace json = boost::json;

SimulatedImage::SimulatedImage(const Scenario& scenario) {
  json::array layer_list;
  json::array diff_list;
  for (std::size_t i = 0; i < scenario.layers.size(); ++i) {
    const auto name = "layer " + std::to_string(i);
    const auto digest = Digest::sha256_of(std::string_view(name));
    const auto diff_id = Digest::sha256_of(std::string_view("tar of " + name));
    names[digest] = name;
    index[digest] = i;
    diff_ids.push_back(diff_id);
    json::object layer{{"mediaType", "application/vnd.oci.image.layer.v1.tar+gzip"},
                       {"digest", digest.str()},
                       {"size", scenario.layers[i]}};
    if (scenario.speaks == LabelDialect::stargz && scenario.remote[i]) {
      layer["annotations"] = json::object{{label::stargz_toc, diff_id.str()}};
    }
    layer_list.push_back(std::move(layer));
    diff_list.push_back(json::value(diff_id.str()));
  }
  const auto chains = chain_ids(diff_ids);
  for (std::size_t i = 0; i < chains.size(); ++i) chain_index[chains[i].str()] = i;
  const auto host = Platform::host();
  config = put("config", media_type::oci_config,
               json::serialize(json::object{{"os", host.os},
                                            {"architecture", host.architecture},
                                            {"rootfs", {{"type", "layers"}, {"diff_ids", diff_list}}}}));
  manifest = put(
      "manifest", media_type::oci_manifest,
      json::serialize(json::object{
          {"schemaVersion", 2},
          {"mediaType", media_type::oci_manifest},
          {"config",
           {{"mediaType", media_type::oci_config}, {"digest", config.digest.str()}, {"size", config.size}}},
          {"layers", layer_list}}));
}

Descriptor SimulatedImage::put(const std::string& name, std::string_view type, const std::string& text) {
  Descriptor descriptor;
  descriptor.media_type = type;
  descriptor.digest = Digest::sha256_of(std::string_view(text));
  descriptor.size = text.size();
  names[descriptor.digest] = name;
  texts[descriptor.digest] = text;
  return descriptor;
}

}  // namespace lazypull::experiment
