/* fusion_plugin.h: the contract between fusion and its plugins, version 1.0.
 * Generated from plugins/abi by `cargo xtask gen`; do not edit. MIT or Apache-2.0, at your choice. */

#ifndef FUSION_PLUGIN_H
#define FUSION_PLUGIN_H

#include <stdint.h>
#if UINTPTR_MAX != UINT64_MAX
#error "fusion plugins are built for 64-bit targets"
#endif

/* The name of the exported function; the major version is part of it. */
#define FUSION_ENTRY fusion_plugin_entry_v1


/*
 Major version of the contract; also part of the entry's name.
 */
#define FUSION_ABI_MAJOR 1

/*
 Minor version that these structs describe.
 */
#define FUSION_ABI_MINOR 0

/*
 Port takes weights of a model.
 */
#define FUSION_SPACE_WEIGHTS 0

/*
 Port takes weights minus those of the port `base`, which the method must have with exactly one input: the host subtracts before a
 call (in f32) and adds the base to what the method computes. Element-wise, whole-tensor and group methods only.
 */
#define FUSION_SPACE_DELTA 1

/*
 Port takes examples.
 */
#define FUSION_SPACE_DATASET 2

/*
 A path through weight space. Reserved: hosts of version 1.0 refuse it.
 */
#define FUSION_SPACE_PATH 3

/*
 Models whose outputs are combined. Reserved: hosts of version 1.0 refuse it.
 */
#define FUSION_SPACE_ENSEMBLE 4

/*
 Port space: a transform of units for each node of a network's symmetries. Reserved: no method of a plugin has such ports yet.
 */
#define FUSION_SPACE_ALIGNMENT 5

/*
 Edges of this port may carry settings of their own.
 */
#define FUSION_PORT_SETTINGS 1

/*
 The order of the inputs matters.
 */
#define FUSION_PORT_ORDERED 2

/*
 Compute it.
 */
#define FUSION_ACTION_APPLY 0

/*
 Copy the `base` input.
 */
#define FUSION_ACTION_COPY_BASE 1

/*
 Copy the first input.
 */
#define FUSION_ACTION_COPY_FIRST 2

/*
 Each element of the result from the same element of the inputs.
 */
#define FUSION_KERNEL_ELEMENTWISE 1

/*
 A whole tensor from whole tensors.
 */
#define FUSION_KERNEL_TENSOR 2

/*
 Several tensors together, as `scope` groups them.
 */
#define FUSION_KERNEL_GROUP 3

/*
 Whole models, through the service `fusion.model/1`.
 */
#define FUSION_KERNEL_MODEL 4

/*
 `observe` and `apply` may run on several threads at once.
 */
#define FUSION_THREADING_PARALLEL 0

/*
 One call at a time per instance.
 */
#define FUSION_THREADING_INSTANCE 1

/*
 One call at a time in the whole process.
 */
#define FUSION_THREADING_PROCESS 2

/*
 Every tensor has an instance of its own.
 */
#define FUSION_SCOPE_TENSOR 0

/*
 All tensors of the stage share one.
 */
#define FUSION_SCOPE_MODEL 1

/*
 The tensors of a layer share one; those outside of layers have their own.
 */
#define FUSION_SCOPE_LAYER 2

/*
 Draws random numbers: a `seed` setting is offered.
 */
#define FUSION_NEEDS_RNG 1

/*
 The same inputs and settings give the same bits, for any chunk size and number of threads: results may be cached.
 */
#define FUSION_TRAIT_DETERMINISTIC 1

/*
 The order of the inputs of the last port does not matter, up to rounding.
 */
#define FUSION_TRAIT_COMMUTATIVE 2

/*
 Equal inputs give that input, up to rounding.
 */
#define FUSION_TRAIT_IDEMPOTENT 4

/*
 Adding one tensor to all inputs adds it to the result, up to rounding.
 */
#define FUSION_TRAIT_AFFINE 8

/*
 Scaling all inputs by one positive number scales the result, up to rounding.
 */
#define FUSION_TRAIT_SCALE_EQUIVARIANT 16

/*
 How a call ended.
 */
typedef int32_t fusion_status;

/*
 A text: UTF-8, borrowed, without a terminating NUL.
 */
typedef struct fusion_str {
  /*
   First byte; anything where `len` is 0.
   */
  const char *ptr;
  /*
   Bytes.
   */
  uint64_t len;
} fusion_str;

/*
 One input role, such as `from` or `base`. Static.
 */
typedef struct fusion_port {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   The edge word in recipes.
   */
  struct fusion_str name;
  /*
   One sentence.
   */
  struct fusion_str doc;
  /*
   `FUSION_SPACE_*`.
   */
  uint32_t space;
  /*
   `FUSION_PORT_*`, added up.
   */
  uint32_t flags;
  /*
   Fewest inputs.
   */
  uint32_t min;
  /*
   Most inputs; `UINT32_MAX` for no bound.
   */
  uint32_t max;
} fusion_port;

/*
 The host's functions. All may be called from any thread, but only during a call from the host into the plugin.
 */
typedef struct fusion_host {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   The host's major version.
   */
  uint32_t abi_major;
  /*
   The host's minor version.
   */
  uint32_t abi_minor;
  /*
   Passed back to every function.
   */
  void *ctx;
  /*
   A line for the log: 0 error, 1 warning, 2 information, 3 debugging.
   */
  void (*log)(void *ctx, uint32_t level, struct fusion_str message);
  /*
   Says why a call is about to fail, and which setting is to blame: a JSON pointer into the parameters (`/density`, `/from/2/weight`)
   or empty. The text is copied at once.
   */
  void (*report)(void *ctx,
                 fusion_status code,
                 struct fusion_str message,
                 struct fusion_str json_pointer);
  /*
   Progress within a long call, in units of the plugin's choice.
   */
  void (*progress)(void *ctx, uint64_t done, uint64_t total, struct fusion_str note);
  /*
   Not 0 once the user has asked to stop: return [`FUSION_CANCELLED`](crate::FUSION_CANCELLED) soon. Always 0 in element-wise calls,
   which last microseconds: the host stops between them.
   */
  uint32_t (*cancelled)(void *ctx);
  /*
   A table of functions by id and revision (`fusion.rng/1`), NULL where it is not offered.
   */
  const void *(*service)(void *ctx, struct fusion_str id);
} fusion_host;

/*
 One input of one output tensor, for `create`. Valid for that call.
 */
typedef struct fusion_input {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   Its port.
   */
  struct fusion_str port;
  /*
   Its settings, a JSON object; patterns, schedules and defaults are resolved.
   */
  struct fusion_str params;
} fusion_input;

/*
 One output tensor that an instance computes, for `create` and `plan`. Valid for that call.
 */
typedef struct fusion_member {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   Name in the result.
   */
  struct fusion_str name;
  /*
   Stable id of the tensor: the key of its random stream.
   */
  uint64_t key;
  /*
   `ndim` lengths, row-major; the same for all inputs.
   */
  const int64_t *shape;
  /*
   Dimensions.
   */
  uint64_t ndim;
  /*
   Position in the stack of layers; `UINT32_MAX` where the tensor is in none.
   */
  uint32_t layer;
  /*
   Layers of the model; 0 where it has none.
   */
  uint32_t layers;
  /*
   The stage's settings for this tensor, a JSON object.
   */
  struct fusion_str params;
  /*
   Inputs in port order, then recipe order.
   */
  const struct fusion_input *inputs;
  /*
   How many.
   */
  uint64_t n_inputs;
  /*
   The numbers among the settings, for methods without a JSON reader: `n_inputs` rows with one column per name in
   `fusion_method.numbers`. NaN where a setting is absent.
   */
  const double *settings;
  /*
   Rows times columns.
   */
  uint64_t n_settings;
} fusion_member;

/*
 The tensors that share one instance: one, those of a layer, or all of the stage, as the method's `scope` says; all for whole-model
 methods. Valid for `create`.
 */
typedef struct fusion_group {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   Never empty.
   */
  const struct fusion_member *members;
  /*
   How many.
   */
  uint64_t n_members;
  /*
   The stage's seed; 0 for methods that draw nothing.
   */
  uint64_t seed;
} fusion_group;

/*
 How one tensor is to be handled: the host fills in the defaults, `plan` changes what it must.
 */
typedef struct fusion_plan {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   `FUSION_ACTION_*`. A copy needs an input of that kind; a tensor that is copied is never seen by `observe` or `apply`.
   */
  uint32_t action;
  /*
   0.
   */
  uint32_t reserved;
  /*
   Bytes of scratch that every call of `observe`, `apply` or `run` gets; for a group, the most that a member asks for.
   */
  uint64_t scratch_bytes;
} fusion_plan;

/*
 Where data lies (`DLDevice`).
 */
typedef struct fusion_device {
  /*
   1 is the CPU, 2 CUDA, as in DLPack.
   */
  int32_t kind;
  /*
   Which one.
   */
  int32_t id;
} fusion_device;

/*
 An element type (`DLDataType`).
 */
typedef struct fusion_dtype {
  /*
   0 signed, 1 unsigned, 2 float, 4 bfloat, as in DLPack.
   */
  uint8_t code;
  /*
   Bits of a lane.
   */
  uint8_t bits;
  /*
   1.
   */
  uint16_t lanes;
} fusion_dtype;

/*
 `DLTensor`. Version 1 promises contiguous row-major data; `strides` is never NULL.
 */
typedef struct fusion_dltensor {
  /*
   First byte. Aligned to the element, and no more is promised.
   */
  void *data;
  /*
   Where.
   */
  struct fusion_device device;
  /*
   Dimensions.
   */
  int32_t ndim;
  /*
   Elements.
   */
  struct fusion_dtype dtype;
  /*
   `ndim` lengths.
   */
  int64_t *shape;
  /*
   `ndim` strides in elements.
   */
  int64_t *strides;
  /*
   0.
   */
  uint64_t byte_offset;
} fusion_dltensor;

/*
 A stretch of a tensor, or all of it. Valid for one call.
 */
typedef struct fusion_tensor {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   The elements of this view.
   */
  struct fusion_dltensor dl;
  /*
   Name in the result, the one that recipes match on.
   */
  struct fusion_str name;
  /*
   Stable id of the tensor: the key of its random stream.
   */
  uint64_t key;
  /*
   This view holds elements `first ..` of `total`, row-major.
   */
  uint64_t first;
  /*
   Elements of the whole tensor.
   */
  uint64_t total;
  /*
   Index of the tensor in its group.
   */
  uint64_t member;
} fusion_tensor;

/*
 One call of `observe`, `apply` or `run`. Valid for that call.

 - *Element-wise*: each tensor is a stretch of elements of one dimension, the same stretch of every input, `first` saying where it
   starts. Stretches start at multiples of 2048 elements and are no longer than that.
 - *Whole tensor*: each tensor is whole, in its own shape.
 - *Group*: the same for all members that `plan` does not copy: inputs member by member, outputs one per member; `member` says whose.
 - *Whole model*: no inputs, no outputs; `host` offers `fusion.model/1`.
 */
typedef struct fusion_call {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   Valid for the call.
   */
  const struct fusion_host *host;
  /*
   Inputs in port order, then recipe order. Read only.
   */
  const struct fusion_tensor *inputs;
  /*
   How many.
   */
  uint64_t n_inputs;
  /*
   Outputs, allocated by the host, 64-byte aligned for whole tensors. None for `observe`.
   */
  const struct fusion_tensor *outputs;
  /*
   How many.
   */
  uint64_t n_outputs;
  /*
   As in `fusion_member.settings`, for this tensor; member by member for a group; none for `run`.
   */
  const double *settings;
  /*
   Rows times columns.
   */
  uint64_t n_settings;
  /*
   What `plan` asked for, 64-byte aligned, this call's alone, with any content; NULL without.
   */
  void *scratch;
  /*
   Bytes of it.
   */
  uint64_t n_scratch;
} fusion_call;

/*
 A method. Static.

 Life of an instance: `create`, `plan` for each member; then
 - *element-wise*: for each observe pass (while `observing`, or `observe_passes` times): per block of 1 Mi elements `state_new`,
   `observe` on its stretches in order, `absorb` in the order of member and block, `pass_end`; then `apply` on every stretch, in any
   order;
 - *whole tensor, group*: `apply`, once;
 - *whole model*: `run`, once;

 and at last `destroy`. `create` runs at plan time too, before there are weights.
 Functions marked *optional* may be NULL.
 */
typedef struct fusion_method {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   The word after `using`.
   */
  struct fusion_str id;
  /*
   One line.
   */
  struct fusion_str title;
  /*
   The formula in plain text; several lines allowed.
   */
  struct fusion_str formula;
  /*
   Authors, title or venue, year.
   */
  struct fusion_str citation;
  /*
   JSON Schema of the settings, in the profile that the host's documentation gives; those of edges are marked `"x-input": true`.
   */
  struct fusion_str params_schema;
  /*
   Bump when results change: part of every cache key.
   */
  uint32_t version;
  /*
   0 align, 1 repair, 2 connect, 3 average, 4 select, 5 stitch, 6 ensemble, 7 distill, 8 evaluate.
   */
  uint32_t category;
  /*
   `FUSION_KERNEL_*`.
   */
  uint32_t kernel;
  /*
   Observe passes that are usual, for the plan's estimate; exact where `observing` is NULL. 0 unless element-wise.
   */
  uint32_t observe_passes;
  /*
   `FUSION_THREADING_*`.
   */
  uint32_t threading;
  /*
   0.
   */
  uint32_t reserved;
  /*
   `FUSION_NEEDS_*`, added up.
   */
  uint64_t needs;
  /*
   `FUSION_TRAIT_*`, added up.
   */
  uint64_t traits;
  /*
   Inputs in call order.
   */
  const struct fusion_port *ports;
  /*
   How many.
   */
  uint64_t n_ports;
  /*
   Names of the settings that `settings` tables carry, in the order of their columns.
   */
  const struct fusion_str *numbers;
  /*
   How many.
   */
  uint64_t n_numbers;
  /*
   *Optional.* Which tensors share an instance under these stage settings (a JSON object): `FUSION_SCOPE_*`. NULL: each has its
   own; for groups, those of a layer. Not asked for whole-tensor and whole-model methods. Any thread.
   */
  fusion_status (*scope)(const struct fusion_host *host, struct fusion_str params, uint32_t *scope);
  /*
   Checks the settings and makes an instance. Any thread. After a failure there is nothing to destroy.
   */
  fusion_status (*create)(const struct fusion_host *host,
                          const struct fusion_group *group,
                          void **instance);
  /*
   Ends an instance. Any thread, no other call running.
   */
  void (*destroy)(void *instance);
  /*
   *Optional.* How member `member` is handled. Any thread, one call at a time per instance. For a whole-model method it is asked
   once, for member 0, and may ask for scratch alone.
   */
  fusion_status (*plan)(void *instance,
                        const struct fusion_host *host,
                        uint64_t member,
                        struct fusion_plan *plan);
  /*
   *Optional.* Not 0 while another observe pass is due. One call at a time per instance.
   */
  uint32_t (*observing)(void *instance);
  /*
   *Optional.* Not 0 if the current pass wants this tile of this member; what it does not want is not even read. Threads as
   `threading` says.
   */
  uint32_t (*wants)(void *instance, uint64_t member, uint64_t tile);
  /*
   *Optional without observe passes.* A blank state of one block. Threads as `threading` says.
   */
  fusion_status (*state_new)(void *instance, const struct fusion_host *host, void **state);
  /*
   *Optional without observe passes.* Adds a stretch to a block's state. Threads as `threading` says.
   */
  fusion_status (*observe)(void *instance, const struct fusion_call *call, void *state);
  /*
   *Optional without observe passes.* Takes a block's state into the instance and leaves it blank. In order of member, then block;
   one call at a time per instance.
   */
  fusion_status (*absorb)(void *instance, const struct fusion_host *host, void *state);
  /*
   *Optional without observe passes.* Ends a pass: all blocks have been absorbed. One call at a time per instance.
   */
  fusion_status (*pass_end)(void *instance, const struct fusion_host *host);
  /*
   *Optional without observe passes.* Ends a block's state. Any thread.
   */
  void (*state_free)(void *instance, void *state);
  /*
   *Optional.* Two numbers of bytes for the memory budget. Element-wise: the instance's statistics, one block's state. Else: what a
   call allocates for itself, 0. Any thread.
   */
  void (*state_bytes)(void *instance, uint64_t *bytes);
  /*
   Kernels 1 to 3: computes the outputs. Must be a pure function of the instance and the call, and must not write to the inputs.
   Threads as `threading` says.
   */
  fusion_status (*apply)(void *instance, const struct fusion_call *call);
  /*
   Kernel 4: does everything, through services. One call per instance.
   */
  fusion_status (*run)(void *instance, const struct fusion_call *call);
} fusion_method;

/*
 A plugin. Static: valid as long as the library is loaded, which is until the process ends.
 */
typedef struct fusion_plugin {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   Major version of the header that it was built with. Shown, never compared.
   */
  uint32_t built_major;
  /*
   Minor version of that header. Shown, never compared.
   */
  uint32_t built_minor;
  /*
   The lowest minor version of a host that it can run on. This is compared.
   */
  uint32_t needs_minor;
  /*
   0.
   */
  uint32_t flags;
  /*
   Reverse domain name in lower case, such as `org.example.consensus`.
   */
  struct fusion_str id;
  /*
   Its version (semver).
   */
  struct fusion_str version;
  /*
   SPDX expression.
   */
  struct fusion_str license;
  /*
   Compiler, date, whatever helps to report a bug.
   */
  struct fusion_str build_info;
  /*
   Its methods.
   */
  const struct fusion_method *methods;
  /*
   How many.
   */
  uint64_t n_methods;
  /*
   Services without which it cannot run.
   */
  const struct fusion_str *services;
  /*
   How many.
   */
  uint64_t n_services;
} fusion_plugin;

/*
 The type of the exported function `fusion_plugin_entry_v1`. Does no work; called again, it returns the same pointer. NULL: it cannot
 run here, and has said why by `report`.
 */
typedef const struct fusion_plugin *(*fusion_entry_fn)(const struct fusion_host *host);

/*
 `fusion.rng/1`: value `i` of a stream is a pure function of (seed, key, i). Any thread.
 */
typedef struct fusion_rng_v1 {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   Passed back.
   */
  void *ctx;
  /*
   Values `first ..` of a stream, uniform in [0, 1), with 24 bits.
   */
  void (*uniform_f32)(void *ctx, uint64_t seed, uint64_t key, uint64_t first, float *out, uint64_t n);
  /*
   The same, standard normal (Box and Muller, from the uniform values 2i and 2i + 1 of the stream).
   */
  void (*normal_f32)(void *ctx, uint64_t seed, uint64_t key, uint64_t first, float *out, uint64_t n);
} fusion_rng_v1;

/*
 `fusion.threads/1`: the host's threads. Only within `run`, or within `apply` of a whole-tensor or group method.
 */
typedef struct fusion_threads_v1 {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   Passed back.
   */
  void *ctx;
  /*
   Calls `body(data, i, worker)` for `i` in `0..n`, in any order, and returns when all are through: a status that is not 0 if any
   was, after which no further call starts. `worker` tells calls apart that run at the same time.
   */
  fusion_status (*for_each)(void *ctx,
                            uint64_t n,
                            fusion_status (*body)(void *data, uint64_t i, uint32_t worker),
                            void *data);
} fusion_threads_v1;

/*
 `fusion.assign/1`: exact rectangular linear assignment (Crouse, 2016). Any thread.
 */
typedef struct fusion_assign_v1 {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   Passed back.
   */
  void *ctx;
  /*
   `cost` is row-major, `rows` by `cols`, finite; `column_of_row` gets -1 for rows without a column. The same costs give the same
   assignment on every machine.
   */
  fusion_status (*solve)(void *ctx,
                         const double *cost,
                         uint64_t rows,
                         uint64_t cols,
                         uint32_t maximise,
                         int64_t *column_of_row);
} fusion_assign_v1;

/*
 `fusion.model/1`: lazy access to whole models, within `run`. Any thread.

 A model is its members: the tensors that the stage computes, by index in the group that `create` got, the same for every input.
 */
typedef struct fusion_model_v1 {
  /*
   Size of this struct.
   */
  uint64_t struct_size;
  /*
   Passed back.
   */
  void *ctx;
  /*
   Input models, in port order, then recipe order.
   */
  uint32_t (*models)(void *ctx);
  /*
   Index of the member of this name, `UINT64_MAX` for none.
   */
  uint64_t (*find)(void *ctx, struct fusion_str name);
  /*
   Name and shape of member `i` of input model `model`; no data. Valid until the end of `run`.
   */
  fusion_status (*info)(void *ctx, uint32_t model, uint64_t i, struct fusion_tensor *out);
  /*
   Member `i` of input model `model`, whole, in f32, valid until `release`.
   */
  fusion_status (*read)(void *ctx, uint32_t model, uint64_t i, struct fusion_tensor *out);
  /*
   Gives what `read` filled in back.
   */
  void (*release)(void *ctx, const struct fusion_tensor *tensor);
  /*
   Stores member `i` of the result: `n` elements of f32, which are copied. Every member must be written, once.
   */
  fusion_status (*write)(void *ctx, uint64_t i, const float *data, uint64_t n);
} fusion_model_v1;

/*
 It worked.
 */
#define FUSION_OK 0

/*
 Settings that do not fit; `report` has said which.
 */
#define FUSION_INVALID 1

/*
 Not supported on these tensors or by this host.
 */
#define FUSION_UNSUPPORTED 2

/*
 No memory.
 */
#define FUSION_OUT_OF_MEMORY 3

/*
 Stopped because the host asked for it.
 */
#define FUSION_CANCELLED 4

/*
 The computation failed; `report` has said why.
 */
#define FUSION_FAILED 5

/*
 A panic or exception was caught at the border. After this, as after any failed call, the instance gets no call but `state_free`
 and `destroy`.
 */
#define FUSION_PANICKED 6

#endif  /* FUSION_PLUGIN_H */
