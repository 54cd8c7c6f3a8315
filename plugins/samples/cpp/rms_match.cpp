// The mean of models with the size of the models, as a fusion plugin in C++ with an observe pass. One file and two headers:
//
//     c++ -std=c++17 -O2 -shared -fPIC -I plugins/abi/include plugins/samples/cpp/rms_match.cpp -o librms_match.so
//
// m = (1/n) Σ θᵢ, θ = m · (1 + strength · (r − 1)) with r = mean rms(θᵢ) / rms(m), tensor by tensor, rms(x) = √(mean of x²).
//
// Averaging models that differ shrinks their weights; this gives each tensor its size back, as much of it as `strength` says. The sums
// are f64, taken per block and absorbed in order, so they depend on neither threads nor chunks; each element is computed in f64 and
// rounded once. r is 1 where the mean is 0 everywhere. A NaN or an infinity anywhere makes all of the tensor NaN, unless `strength` is 0.
#include <cmath>

#include "fusion_plugin.hpp"

namespace {

/// Columns of the table of numbers.
constexpr std::size_t strength_column = 0;

/// The prepared method of one tensor.
class rms_match {
public:
    static constexpr std::uint32_t passes = 1;

    /// Sums of squares over a block.
    struct state {
        std::vector<double> of_inputs;
        double of_mean = 0.0;
    };

    explicit rms_match(const fusion::group &group)
        : strength_(group[0].stage(strength_column, "strength", 0.0, 1.0)),
          sums_{std::vector<double>(group[0].inputs()), 0.0} {}

    void observe(const fusion::call &call, state &block) const {
        const auto inputs = call.values();
        block.of_inputs.resize(inputs.size());
        for (std::size_t i = 0; i < inputs[0].size(); ++i) {
            double sum = 0.0;
            for (std::size_t j = 0; j < inputs.size(); ++j) {
                const double x = inputs[j][i];
                block.of_inputs[j] += x * x;
                sum += x;
            }
            const double mean = sum / static_cast<double>(inputs.size());
            block.of_mean += mean * mean;
        }
    }

    void absorb(state &block) {
        for (std::size_t j = 0; j < block.of_inputs.size(); ++j) {
            sums_.of_inputs[j] += block.of_inputs[j];
        }
        sums_.of_mean += block.of_mean;
    }

    void pass_end() {
        if (strength_ == 0.0 || sums_.of_mean == 0.0) {
            return; // NaN is not 0
        }
        double roots = 0.0;
        for (const double squares : sums_.of_inputs) {
            roots += std::sqrt(squares); // the number of elements cancels out
        }
        const double ratio = roots / static_cast<double>(sums_.of_inputs.size()) / std::sqrt(sums_.of_mean);
        factor_ = 1.0 + strength_ * (ratio - 1.0);
    }

    void apply(const fusion::call &call) const {
        const auto out = call.output().out();
        const auto inputs = call.values();
        const double factor = factor_ / static_cast<double>(inputs.size());
        for (std::size_t i = 0; i < out.size(); ++i) {
            double sum = 0.0;
            for (const auto &input : inputs) {
                sum += static_cast<double>(input[i]);
            }
            out[i] = static_cast<float>(factor * sum);
        }
    }

private:
    double strength_;
    state sums_;
    double factor_ = 1.0;
};

fusion_method describe() {
    static const fusion_port ports[] = {
        fusion::port("from", "the models", FUSION_SPACE_WEIGHTS, 0, 1, UINT32_MAX),
    };
    static const fusion_str numbers[] = {fusion::text("strength")};
    fusion_method method = fusion::observing<rms_match>();
    method.id = fusion::text("rms_match");
    method.title = fusion::text("mean of models, each tensor rescaled to the mean size of the models'");
    method.formula = fusion::text("m = (1/n) Σ θᵢ, r = mean rms(θᵢ) / rms(m)\nθ = m · (1 + strength · (r − 1))");
    method.citation = fusion::text("a sample; Jordan et al., REPAIR: REnormalizing Permuted Activations for "
                                   "Interpolation Repair, ICLR 2023, has the idea for activations");
    method.params_schema = fusion::text(R"({
        "type": "object",
        "properties": {
            "strength": {
                "type": "number", "minimum": 0, "maximum": 1, "default": 1, "x-unit": "fraction", "x-varies": true,
                "description": "how much of the lost size is given back: 0% is the plain mean"
            }
        },
        "additionalProperties": false
    })");
    method.traits = FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT |
                    FUSION_TRAIT_SCALE_EQUIVARIANT;
    method.ports = ports;
    method.n_ports = 1;
    method.numbers = numbers;
    method.n_numbers = 1;
    return method;
}

} // namespace

FUSION_PLUGIN("org.fusion.samples.rms_match", "1.0.0", "MIT OR Apache-2.0", describe());
