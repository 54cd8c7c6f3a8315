// {{name}}: the weighted mean of models, element by element. A start for a method of your own: change what `apply` computes,
// then what `describe` says of it.
//
// θ = Σ wᵢθᵢ / Σ wᵢ
// In double, each element rounded once. `fusion_plugin.hpp` is the contract as C++ classes.
#include "fusion_plugin.hpp"

namespace {

/// The prepared method of one tensor.
class kernel {
public:
    /// Checks the settings, also when a recipe is only planned. Per-layer values and rules are resolved: these are the tensor's own.
    explicit kernel(const fusion::group &group) {
        const fusion::member member = group[0]; // every tensor has its own kernel
        double sum = 0;
        for (std::size_t i = 0; i < member.inputs(); ++i) {
            weights_.push_back(member.edge(i, 0, "weight", 0, 1000));
            sum += weights_.back();
        }
        if (sum == 0) {
            throw fusion::error::invalid("the weights are all 0").at("/from/0/weight");
        }
        for (double &weight : weights_) {
            weight /= sum;
        }
    }

    /// A stretch of at most 2048 elements, on any thread.
    void apply(const fusion::call &call) const {
        const auto inputs = call.values();
        const auto out = call.output().out();
        for (std::size_t i = 0; i < out.size(); ++i) {
            double sum = 0;
            for (std::size_t j = 0; j < inputs.size(); ++j) {
                sum += weights_[j] * static_cast<double>(inputs[j][i]);
            }
            out[i] = static_cast<float>(sum);
        }
    }

private:
    std::vector<double> weights_;
};

fusion_method describe() {
    static const fusion_port ports[] = {
        fusion::port("from", "the models", FUSION_SPACE_WEIGHTS, FUSION_PORT_SETTINGS, 1, UINT32_MAX),
    };
    static const fusion_str numbers[] = {fusion::text("weight")}; // the columns of the table of numbers
    fusion_method method = fusion::elementwise<kernel>();
    method.id = fusion::text("{{name}}");
    method.title = fusion::text("weighted mean of models");
    method.formula = fusion::text("θ = Σ wᵢθᵢ / Σ wᵢ");
    method.citation = fusion::text("name your source here: authors, title or venue, year");
    method.params_schema = fusion::text(R"({
        "type": "object",
        "properties": {
            "weight": {
                "type": "number", "minimum": 0, "maximum": 1000, "default": 1, "x-input": true, "x-varies": true,
                "description": "how much this model counts"
            }
        },
        "additionalProperties": false
    })");
    method.traits = FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT | FUSION_TRAIT_AFFINE |
                    FUSION_TRAIT_SCALE_EQUIVARIANT;
    method.ports = ports;
    method.n_ports = 1;
    method.numbers = numbers;
    method.n_numbers = 1;
    return method;
}

} // namespace

FUSION_PLUGIN("{{id}}", "0.1.0", "MIT OR Apache-2.0", describe());
