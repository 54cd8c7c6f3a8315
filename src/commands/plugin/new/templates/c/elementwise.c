/* {{name}}: the weighted mean of models, element by element. A start for a method of your own: change what `apply` computes, then what
 * `method` says of it.
 *
 * θ = Σ wᵢθᵢ / Σ wᵢ, in double, each element rounded once. `fusion_plugin.h` says what every field means.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion_plugin.h"

#define TEXT(literal) { literal, sizeof(literal) - 1 }

/* Says why a call fails, and which setting is to blame, by a JSON pointer. */
static fusion_status refuse(const fusion_host *host, const char *message, const char *pointer) {
    const fusion_str text = { message, strlen(message) }, place = { pointer, strlen(pointer) };
    host->report(host->ctx, FUSION_INVALID, text, place);
    return FUSION_INVALID;
}

/* The prepared method of one tensor. */
typedef struct {
    uint64_t inputs;
    double weights[]; /* divided by their sum */
} kernel;

/* Checks the settings, also when a recipe is only planned. Per-layer values and rules are resolved: these are the tensor's own. */
static fusion_status create(const fusion_host *host, const fusion_group *group, void **instance) {
    const fusion_member *member = &group->members[0]; /* every tensor has its own instance */
    const uint64_t inputs = member->n_inputs;
    if (inputs == 0 || member->n_settings != inputs) return refuse(host, "there are no models", "");
    double sum = 0;
    for (uint64_t i = 0; i < inputs; i++) {
        const double weight = member->settings[i]; /* one row per input, one column: see `numbers` */
        if (!(weight >= 0 && weight <= 1000)) {
            char pointer[64];
            snprintf(pointer, sizeof pointer, "/from/%llu/weight", (unsigned long long)i);
            return refuse(host, "`weight` must lie between 0 and 1000", pointer);
        }
        sum += weight;
    }
    if (sum == 0) return refuse(host, "the weights are all 0", "/from/0/weight");
    kernel *made = malloc(sizeof *made + inputs * sizeof(double));
    if (made == NULL) return FUSION_OUT_OF_MEMORY;
    made->inputs = inputs;
    for (uint64_t i = 0; i < inputs; i++) made->weights[i] = member->settings[i] / sum;
    *instance = made;
    return FUSION_OK;
}

static void destroy(void *instance) { free(instance); }

/* A stretch of at most 2048 elements, on any thread. */
static fusion_status apply(void *instance, const fusion_call *call) {
    const kernel *self = instance;
    float *out = call->outputs[0].dl.data;
    const int64_t n = call->outputs[0].dl.shape[0];
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint64_t j = 0; j < self->inputs; j++) {
            sum += self->weights[j] * ((const float *)call->inputs[j].dl.data)[i];
        }
        out[i] = (float)sum;
    }
    return FUSION_OK;
}

static const fusion_port ports[] = { {
    .struct_size = sizeof(fusion_port),
    .name = TEXT("from"),
    .doc = TEXT("the models"),
    .space = FUSION_SPACE_WEIGHTS,
    .flags = FUSION_PORT_SETTINGS,
    .min = 1,
    .max = UINT32_MAX,
} };

static const fusion_str numbers[] = { TEXT("weight") };

static const fusion_method method[] = { {
    .struct_size = sizeof(fusion_method),
    .id = TEXT("{{name}}"),
    .title = TEXT("weighted mean of models"),
    .formula = TEXT("θ = Σ wᵢθᵢ / Σ wᵢ"),
    .citation = TEXT("name your source here: authors, title or venue, year"),
    .params_schema = TEXT(
        "{\"type\": \"object\", \"properties\": {\"weight\": {"
        "\"type\": \"number\", \"minimum\": 0, \"maximum\": 1000, \"default\": 1, \"x-input\": true, \"x-varies\": true,"
        "\"description\": \"how much this model counts\"}}, \"additionalProperties\": false}"),
    .version = 1,
    .category = 3, /* average */
    .kernel = FUSION_KERNEL_ELEMENTWISE,
    .threading = FUSION_THREADING_PARALLEL,
    .traits = FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT | FUSION_TRAIT_AFFINE
            | FUSION_TRAIT_SCALE_EQUIVARIANT,
    .ports = ports,
    .n_ports = 1,
    .numbers = numbers,
    .n_numbers = 1,
    .create = create,
    .destroy = destroy,
    .apply = apply,
} };

static const fusion_plugin plugin = {
    .struct_size = sizeof(fusion_plugin),
    .built_major = FUSION_ABI_MAJOR,
    .built_minor = FUSION_ABI_MINOR,
    .needs_minor = 0,
    .id = TEXT("{{id}}"),
    .version = TEXT("0.1.0"),
    .license = TEXT("MIT OR Apache-2.0"),
    .build_info = TEXT("C"),
    .methods = method,
    .n_methods = 1,
};

const fusion_plugin *FUSION_ENTRY(const fusion_host *host);

/* The one exported function: it does no work. */
const fusion_plugin *FUSION_ENTRY(const fusion_host *host) {
    (void)host;
    return &plugin;
}
