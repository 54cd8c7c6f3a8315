// fusion_plugin.hpp: fusion_plugin.h for C++17, so that an author writes a class and never lets an exception cross the border.
// One header, nothing to link. Written by hand; MIT or Apache-2.0, at your choice.
//
//     class mean {                                             // the prepared kernel of one tensor
//     public:
//         explicit mean(const fusion::group &) {}              // checks the settings; throws fusion::error
//         void apply(const fusion::call &call) const;          // computes call.output()
//     };
//
//     static fusion_method describe() {
//         fusion_method method = fusion::elementwise<mean>();  // or observing, whole_tensor, group_of_tensors, whole_model
//         method.id = fusion::text("mean");
//         ...
//         return method;
//     }
//     FUSION_PLUGIN("org.example.mean", "1.0.0", "MIT", describe())
//
// Views (span, tensor, call, group) are borrowed: they are valid for the call that they came with.
#ifndef FUSION_PLUGIN_HPP
#define FUSION_PLUGIN_HPP

#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fusion_plugin.h"

#if defined(_WIN32)
#define FUSION_API __declspec(dllexport)
#else
#define FUSION_API __attribute__((visibility("default")))
#endif

#if defined(__VERSION__)
#define FUSION_COMPILER "C++ " __VERSION__
#else
#define FUSION_COMPILER "C++"
#endif

/// Whether the struct behind `pointer`, which another version may have written, has `field`.
#define FUSION_COVERS(pointer, type, field) \
    ((pointer)->struct_size >= offsetof(type, field) + sizeof(static_cast<type *>(nullptr)->field))

/// The body of a function of the contract: runs a block, turns what it throws into a report and a status, and returns that.
///
///     static fusion_status apply(void *instance, const fusion_call *call) {
///         FUSION_GUARD(call->host, { static_cast<kernel *>(instance)->compute(fusion::call(*call)); });
///     }
#define FUSION_GUARD(host, ...) return ::fusion::guard((host), [&]() __VA_ARGS__)

namespace fusion {

/// A text for the contract. Whoever owns the characters must keep them, for ever in descriptors: use literals there.
constexpr fusion_str text(std::string_view text) noexcept {
    return fusion_str{text.data(), static_cast<std::uint64_t>(text.size())};
}

/// A text of the contract, borrowed.
constexpr std::string_view view(fusion_str text) noexcept {
    return text.len == 0 ? std::string_view{} : std::string_view{text.ptr, static_cast<std::size_t>(text.len)};
}

/// Elements that somebody else owns.
template <class T> class span {
public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}

    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/// What a method throws to refuse or fail: a status, a text for people (lower case, no full stop), and which setting is to blame.
class error : public std::exception {
public:
    error(fusion_status status, std::string message) : status_(status), message_(std::move(message)) {}

    /// Settings that do not fit.
    static error invalid(std::string message) { return {FUSION_INVALID, std::move(message)}; }

    /// Blames a setting, by a JSON pointer: `/density`, `/from/2/weight`.
    error &&at(std::string pointer) && {
        pointer_ = std::move(pointer);
        return std::move(*this);
    }

    /// Says how to fix it.
    error &&help(std::string_view how) && {
        message_.append("\nhelp: ").append(how);
        return std::move(*this);
    }

    fusion_status status() const noexcept { return status_; }
    const std::string &pointer() const noexcept { return pointer_; }
    const char *what() const noexcept override { return message_.c_str(); }

private:
    fusion_status status_;
    std::string message_, pointer_;
};

/// The host during a call. Any thread may use it.
class host {
public:
    explicit host(const fusion_host *table) noexcept : table_(table) {}

    /// A line for the log: 0 error, 1 warning, 2 information, 3 debugging.
    void log(std::uint32_t level, std::string_view line) const noexcept {
        if (table_ && FUSION_COVERS(table_, fusion_host, log) && table_->log) {
            table_->log(table_->ctx, level, text(line));
        }
    }

    /// Says why the call is about to fail; what is thrown under `FUSION_GUARD` is reported by itself.
    void report(fusion_status status, std::string_view message, std::string_view pointer = {}) const noexcept {
        if (table_ && FUSION_COVERS(table_, fusion_host, report) && table_->report) {
            table_->report(table_->ctx, status, text(message), text(pointer));
        }
    }

    /// How far a long call is, in units of your choice.
    void progress(std::uint64_t done, std::uint64_t total, std::string_view note) const noexcept {
        if (table_ && FUSION_COVERS(table_, fusion_host, progress) && table_->progress) {
            table_->progress(table_->ctx, done, total, text(note));
        }
    }

    /// Whether the user has asked to stop.
    bool cancelled() const noexcept {
        return table_ && FUSION_COVERS(table_, fusion_host, cancelled) && table_->cancelled &&
               table_->cancelled(table_->ctx) != 0;
    }

    /// Ends the call if the user has asked to stop: ask a few times a second.
    void check() const {
        if (cancelled()) {
            throw error(FUSION_CANCELLED, "stopped");
        }
    }

    /// A service's table, NULL where it is not offered: `service<fusion_rng_v1>("fusion.rng/1")`.
    template <class Table> const Table *service(std::string_view id) const noexcept {
        if (table_ && FUSION_COVERS(table_, fusion_host, service) && table_->service) {
            return static_cast<const Table *>(table_->service(table_->ctx, text(id)));
        }
        return nullptr;
    }

private:
    const fusion_host *table_;
};

/// Runs `body`; an exception becomes a report and a status.
template <class Body> fusion_status guard(const fusion_host *table, Body &&body) noexcept {
    const host at(table);
    try {
        body();
        return FUSION_OK;
    } catch (const error &thrown) {
        const fusion_status status = thrown.status() == FUSION_OK ? FUSION_FAILED : thrown.status();
        at.report(status, thrown.what(), thrown.pointer());
        return status;
    } catch (const std::bad_alloc &) {
        at.report(FUSION_OUT_OF_MEMORY, "no memory");
        return FUSION_OUT_OF_MEMORY;
    } catch (const std::exception &thrown) {
        at.report(FUSION_PANICKED, thrown.what());
        return FUSION_PANICKED;
    } catch (...) {
        at.report(FUSION_PANICKED, "an exception without a text");
        return FUSION_PANICKED;
    }
}

/// A tensor of a call, or a stretch of one.
class tensor {
public:
    explicit tensor(const fusion_tensor &raw) noexcept : raw_(&raw) {}

    /// Name in the result.
    std::string_view name() const noexcept { return view(raw_->name); }
    /// Lengths of this view; of the whole tensor but in element-wise calls.
    span<const std::int64_t> shape() const noexcept {
        return {raw_->dl.shape, static_cast<std::size_t>(raw_->dl.ndim)};
    }
    /// Position of the first element in the tensor, row-major.
    std::uint64_t first() const noexcept { return raw_->first; }
    /// Index of the tensor in its group.
    std::uint64_t member() const noexcept { return raw_->member; }
    /// Key of the tensor's random stream.
    std::uint64_t key() const noexcept { return raw_->key; }
    /// Elements of this view.
    std::size_t size() const noexcept {
        std::int64_t n = 1;
        for (const std::int64_t length : shape()) {
            n *= length;
        }
        return static_cast<std::size_t>(n);
    }
    /// The elements, to be read.
    span<const float> values() const noexcept { return {static_cast<const float *>(raw_->dl.data), size()}; }
    /// The elements of an output, to be written.
    span<float> out() const noexcept { return {static_cast<float *>(raw_->dl.data), size()}; }

private:
    const fusion_tensor *raw_;
};

/// A call of `observe` or `apply`.
class call {
public:
    explicit call(const fusion_call &raw) noexcept : raw_(&raw) {}

    fusion::host host() const noexcept { return fusion::host(raw_->host); }

    /// Inputs in port order, then recipe order; for a group, member by member.
    std::size_t inputs() const noexcept { return static_cast<std::size_t>(raw_->n_inputs); }
    tensor input(std::size_t i) const noexcept { return tensor(raw_->inputs[i]); }

    /// Outputs: none for `observe`, one but for groups.
    std::size_t outputs() const noexcept { return static_cast<std::size_t>(raw_->n_outputs); }
    tensor output(std::size_t i = 0) const noexcept { return tensor(raw_->outputs[i]); }

    /// The elements of all inputs.
    std::vector<span<const float>> values() const {
        std::vector<span<const float>> found;
        for (std::size_t i = 0; i < inputs(); ++i) {
            found.push_back(input(i).values());
        }
        return found;
    }

    /// The elements of the inputs that belong to output `i`, in a group.
    std::vector<span<const float>> values_of(std::size_t i) const {
        std::vector<span<const float>> found;
        for (std::size_t j = 0; j < inputs(); ++j) {
            if (input(j).member() == output(i).member()) {
                found.push_back(input(j).values());
            }
        }
        return found;
    }

    const fusion_call &raw() const noexcept { return *raw_; }

private:
    const fusion_call *raw_;
};

/// One tensor that an instance computes, in `create`.
class member {
public:
    explicit member(const fusion_member &raw) noexcept : raw_(&raw) {}

    std::string_view name() const noexcept { return view(raw_->name); }
    span<const std::int64_t> shape() const noexcept {
        return {raw_->shape, static_cast<std::size_t>(raw_->ndim)};
    }
    std::size_t inputs() const noexcept { return static_cast<std::size_t>(raw_->n_inputs); }
    std::string_view port(std::size_t input) const noexcept { return view(raw_->inputs[input].port); }
    /// The stage's settings, a JSON object.
    std::string_view params() const noexcept { return view(raw_->params); }

    /// A number among the settings: `column` counts the names in `fusion_method.numbers`. NaN where it is absent.
    double number(std::size_t input, std::size_t column) const noexcept {
        const std::size_t rows = inputs();
        const std::size_t columns = rows == 0 ? 0 : static_cast<std::size_t>(raw_->n_settings) / rows;
        return input < rows && column < columns ? raw_->settings[input * columns + column] : absent;
    }

    /// A number of the stage between two bounds; refuses all else, and blames it by `name`.
    double stage(std::size_t column, std::string_view name, double least, double most) const {
        return within(number(0, column), name, "/" + std::string(name), least, most);
    }

    /// A number of an edge between two bounds; refuses all else, and blames it by `name`.
    double edge(std::size_t input, std::size_t column, std::string_view name, double least, double most) const {
        return within(number(input, column), name, pointer(input, name), least, most);
    }

    /// Where an edge's setting stands: `/from/2/weight`.
    std::string pointer(std::size_t input, std::string_view name) const {
        std::size_t place = 0;
        for (std::size_t other = 0; other < input; ++other) {
            place += port(other) == port(input) ? 1U : 0U;
        }
        return "/" + std::string(port(input)) + "/" + std::to_string(place) + "/" + std::string(name);
    }

    const fusion_member &raw() const noexcept { return *raw_; }

private:
    static constexpr double absent = std::numeric_limits<double>::quiet_NaN();

    static double within(double value, std::string_view name, std::string pointer, double least, double most) {
        if (value >= least && value <= most) { // and no NaN
            return value;
        }
        const std::string message =
            "`" + std::string(name) + "` must lie between " + plain(least) + " and " + plain(most);
        throw error::invalid(message).at(std::move(pointer));
    }

    /// 1 and not 1.000000.
    static std::string plain(double value) {
        std::string digits = std::to_string(value);
        digits.erase(digits.find_last_not_of('0') + 1);
        if (digits.back() == '.') {
            digits.pop_back();
        }
        return digits;
    }

    const fusion_member *raw_;
};

/// The tensors that share an instance, in `create`.
class group {
public:
    explicit group(const fusion_group &raw) noexcept : raw_(&raw) {}

    std::size_t size() const noexcept { return static_cast<std::size_t>(raw_->n_members); }
    member operator[](std::size_t i) const noexcept { return member(raw_->members[i]); }
    /// The stage's seed; 0 for methods that draw nothing.
    std::uint64_t seed() const noexcept { return raw_->seed; }

private:
    const fusion_group *raw_;
};

/// Whole models, for `run`: the service `fusion.model/1`.
class models {
public:
    /// A tensor that the host holds in memory as long as this lives.
    class pinned {
    public:
        pinned(const fusion_model_v1 *service, const fusion_tensor &raw) noexcept
            : service_(service), raw_(raw), values_(tensor(raw).values()) {}
        pinned(pinned &&other) noexcept
            : service_(std::exchange(other.service_, nullptr)), raw_(other.raw_), values_(other.values_) {}
        pinned(const pinned &) = delete;
        pinned &operator=(const pinned &) = delete;
        pinned &operator=(pinned &&) = delete;
        ~pinned() {
            if (service_) {
                service_->release(service_->ctx, &raw_);
            }
        }

        span<const float> values() const noexcept { return values_; }

    private:
        const fusion_model_v1 *service_;
        fusion_tensor raw_;
        span<const float> values_;
    };

    explicit models(const fusion::host &host) : service_(host.service<fusion_model_v1>("fusion.model/1")) {
        if (!service_ || !FUSION_COVERS(service_, fusion_model_v1, write)) {
            throw error(FUSION_UNSUPPORTED, "the host does not offer `fusion.model/1`");
        }
    }

    /// How many input models.
    std::uint32_t count() const noexcept { return service_->models(service_->ctx); }

    /// Member `i` of a model, whole.
    pinned read(std::uint32_t model, std::uint64_t i) const {
        fusion_tensor raw{};
        raw.struct_size = sizeof raw;
        const fusion_status status = service_->read(service_->ctx, model, i, &raw);
        if (status != FUSION_OK) {
            throw error(status, "the host does not read member " + std::to_string(i));
        }
        return pinned(service_, raw);
    }

    /// Stores member `i` of the result. Every member must be written, once.
    void write(std::uint64_t i, span<const float> data) const {
        const fusion_status status = service_->write(service_->ctx, i, data.data(), data.size());
        if (status != FUSION_OK) {
            throw error(status, "the host does not take member " + std::to_string(i));
        }
    }

private:
    const fusion_model_v1 *service_;
};

/// The functions of a class for the contract's tables. An author takes the makers below.
template <class Kernel> struct functions {
    static fusion_status create(const fusion_host *host, const fusion_group *given, void **instance) noexcept {
        FUSION_GUARD(host, { *instance = new Kernel(group(*given)); });
    }
    static void destroy(void *instance) noexcept { delete static_cast<Kernel *>(instance); }
    static fusion_status apply(void *instance, const fusion_call *given) noexcept {
        FUSION_GUARD(given->host, { static_cast<const Kernel *>(instance)->apply(call(*given)); });
    }
    static fusion_status run(void *instance, const fusion_call *given) noexcept {
        FUSION_GUARD(given->host, {
            const host at(given->host);
            static_cast<const Kernel *>(instance)->run(models(at), at);
        });
    }
};

/// Those of a class with an observe pass.
template <class Kernel> struct observers {
    using State = typename Kernel::state;

    static fusion_status state_new(void *, const fusion_host *host, void **state) noexcept {
        FUSION_GUARD(host, { *state = new State(); });
    }
    static fusion_status observe(void *instance, const fusion_call *given, void *state) noexcept {
        FUSION_GUARD(given->host, {
            static_cast<const Kernel *>(instance)->observe(call(*given), *static_cast<State *>(state));
        });
    }
    static fusion_status absorb(void *instance, const fusion_host *host, void *state) noexcept {
        FUSION_GUARD(host, {
            State &block = *static_cast<State *>(state);
            static_cast<Kernel *>(instance)->absorb(block);
            block = State(); // it must be blank for its next block
        });
    }
    static fusion_status pass_end(void *instance, const fusion_host *host) noexcept {
        FUSION_GUARD(host, { static_cast<Kernel *>(instance)->pass_end(); });
    }
    static void state_free(void *, void *state) noexcept { delete static_cast<State *>(state); }
    static void state_bytes(void *, std::uint64_t *bytes) noexcept {
        bytes[0] = sizeof(Kernel);
        bytes[1] = sizeof(State);
    }
};

/// A method's table without texts and functions: version 1, category `average`, parallel calls, no settings.
inline fusion_method blank(std::uint32_t kernel) noexcept {
    fusion_method method{};
    method.struct_size = sizeof method;
    method.params_schema = text(R"({"type": "object", "properties": {}, "additionalProperties": false})");
    method.version = 1;
    method.category = 3;
    method.kernel = kernel;
    method.threading = FUSION_THREADING_PARALLEL;
    method.traits = FUSION_TRAIT_DETERMINISTIC;
    return method;
}

/// `Kernel(const group &)`, `void apply(const call &) const` for each stretch.
template <class Kernel> fusion_method elementwise() noexcept {
    fusion_method method = blank(FUSION_KERNEL_ELEMENTWISE);
    method.create = functions<Kernel>::create;
    method.destroy = functions<Kernel>::destroy;
    method.apply = functions<Kernel>::apply;
    return method;
}

/// `elementwise`, and before it `Kernel::passes` times: `void observe(const call &, state &) const` for each stretch of a block,
/// `void absorb(state &)` in the order of blocks, `void pass_end()`. `Kernel::state` is default-constructible.
template <class Kernel> fusion_method observing() noexcept {
    fusion_method method = elementwise<Kernel>();
    method.observe_passes = Kernel::passes;
    method.state_new = observers<Kernel>::state_new;
    method.observe = observers<Kernel>::observe;
    method.absorb = observers<Kernel>::absorb;
    method.pass_end = observers<Kernel>::pass_end;
    method.state_free = observers<Kernel>::state_free;
    method.state_bytes = observers<Kernel>::state_bytes;
    return method;
}

/// `Kernel(const group &)` of one tensor, `void apply(const call &) const` for all of it.
template <class Kernel> fusion_method whole_tensor() noexcept {
    fusion_method method = elementwise<Kernel>();
    method.kernel = FUSION_KERNEL_TENSOR;
    return method;
}

/// `Kernel(const group &)` of the tensors of a layer, `void apply(const call &) const` for all of them.
template <class Kernel> fusion_method group_of_tensors() noexcept {
    fusion_method method = elementwise<Kernel>();
    method.kernel = FUSION_KERNEL_GROUP;
    return method;
}

/// `Kernel(const group &)` of all tensors, `void run(const models &, const host &) const`.
template <class Kernel> fusion_method whole_model() noexcept {
    fusion_method method = blank(FUSION_KERNEL_MODEL);
    method.create = functions<Kernel>::create;
    method.destroy = functions<Kernel>::destroy;
    method.run = functions<Kernel>::run;
    return method;
}

/// A port. `flags` are `FUSION_PORT_*`; `most` is `UINT32_MAX` for no bound.
inline fusion_port port(std::string_view name, std::string_view doc, std::uint32_t space, std::uint32_t flags,
                        std::uint32_t least, std::uint32_t most) noexcept {
    fusion_port port{};
    port.struct_size = sizeof port;
    port.name = text(name);
    port.doc = text(doc);
    port.space = space;
    port.flags = flags;
    port.min = least;
    port.max = most;
    return port;
}

} // namespace fusion

/// The exported entry of a plugin: its id, version and licence as literals, then its methods.
#define FUSION_PLUGIN(plugin_id, plugin_version, plugin_license, ...)                          \
    extern "C" FUSION_API const fusion_plugin *FUSION_ENTRY(const fusion_host *) noexcept;     \
    extern "C" FUSION_API const fusion_plugin *FUSION_ENTRY(const fusion_host *) noexcept {    \
        static const fusion_method methods[] = {__VA_ARGS__};                                  \
        static const fusion_plugin plugin = [] {                                               \
            fusion_plugin made{};                                                              \
            made.struct_size = sizeof made;                                                    \
            made.built_major = FUSION_ABI_MAJOR;                                               \
            made.built_minor = FUSION_ABI_MINOR;                                               \
            made.id = ::fusion::text(plugin_id);                                               \
            made.version = ::fusion::text(plugin_version);                                     \
            made.license = ::fusion::text(plugin_license);                                     \
            made.build_info = ::fusion::text(FUSION_COMPILER);                                 \
            made.methods = methods;                                                            \
            made.n_methods = sizeof methods / sizeof methods[0];                               \
            return made;                                                                       \
        }();                                                                                   \
        return &plugin;                                                                        \
    }                                                                                          \
    static_assert(sizeof(plugin_id) > 1, "a plugin has an id")

#endif // FUSION_PLUGIN_HPP
