/* The element-wise median of models, as a fusion plugin in C. One file, nothing but the header:
 *
 *     cc -std=c11 -O2 -shared -fPIC -I plugins/abi/include plugins/samples/c/median.c -o libmedian.so
 *
 * θ = median of θ₁ … θₙ, element by element; the mean of the two in the middle where n is even, computed in double and rounded once. A
 * NaN orders above all numbers, so a minority of broken models does no harm. No settings; `docs/plugins.md` walks through the file.
 */
#include <stddef.h>
#include <string.h>

#include "fusion_plugin.h"

#define TEXT(literal) { literal, sizeof(literal) - 1 }
#define MOST 64

static void report(const fusion_host *host, fusion_status code, const char *text) {
    const fusion_str message = { text, strlen(text) }, nowhere = { "", 0 };
    host->report(host->ctx, code, message, nowhere);
}

/* The instance holds nothing: settings are none, and the number of inputs comes with every call. */
static fusion_status create(const fusion_host *host, const fusion_group *group, void **instance) {
    if (group->members[0].n_inputs > MOST) {
        report(host, FUSION_INVALID, "`median` takes at most 64 models");
        return FUSION_INVALID;
    }
    *instance = NULL;
    return FUSION_OK;
}

static void destroy(void *instance) { (void)instance; }

/* NaN orders above all numbers. */
static int above(float a, float b) { return a > b || (a != a && b == b); }

static fusion_status apply(void *instance, const fusion_call *call) {
    (void)instance;
    const uint64_t inputs = call->n_inputs;
    float *out = call->outputs[0].dl.data;
    const int64_t n = call->outputs[0].dl.shape[0];
    for (int64_t i = 0; i < n; i++) {
        float sorted[MOST];
        for (uint64_t j = 0; j < inputs; j++) { /* insertion: there are few models */
            const float x = ((const float *)call->inputs[j].dl.data)[i];
            uint64_t at = j;
            for (; at > 0 && above(sorted[at - 1], x); at--) sorted[at] = sorted[at - 1];
            sorted[at] = x;
        }
        const double low = sorted[(inputs - 1) / 2], high = sorted[inputs / 2];
        out[i] = (float)((low + high) / 2); /* in double, which does not overflow */
    }
    return FUSION_OK;
}

static const fusion_port ports[] = { {
    .struct_size = sizeof(fusion_port),
    .name = TEXT("from"),
    .doc = TEXT("the models"),
    .space = FUSION_SPACE_WEIGHTS,
    .flags = 0,
    .min = 1,
    .max = MOST,
} };

static const fusion_method methods[] = { {
    .struct_size = sizeof(fusion_method),
    .id = TEXT("median"),
    .title = TEXT("element-wise median of models"),
    .formula = TEXT("θ = median(θ₁ … θₙ), element by element"),
    .citation = TEXT("Yin et al., Byzantine-robust distributed learning, ICML 2018"),
    .params_schema = TEXT("{\"type\": \"object\", \"properties\": {}, \"additionalProperties\": false}"),
    .version = 1,
    .category = 3, /* average */
    .kernel = FUSION_KERNEL_ELEMENTWISE,
    .threading = FUSION_THREADING_PARALLEL,
    .traits = FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT | FUSION_TRAIT_AFFINE
            | FUSION_TRAIT_SCALE_EQUIVARIANT,
    .ports = ports,
    .n_ports = 1,
    .create = create,
    .destroy = destroy,
    .apply = apply,
} };

static const fusion_plugin plugin = {
    .struct_size = sizeof(fusion_plugin),
    .built_major = FUSION_ABI_MAJOR,
    .built_minor = FUSION_ABI_MINOR,
    .needs_minor = 0,
    .id = TEXT("org.fusion.samples.median"),
    .version = TEXT("1.0.0"),
    .license = TEXT("MIT OR Apache-2.0"),
    .build_info = TEXT("C"),
    .methods = methods,
    .n_methods = 1,
};

const fusion_plugin *FUSION_ENTRY(const fusion_host *host);

const fusion_plugin *FUSION_ENTRY(const fusion_host *host) {
    (void)host;
    return &plugin;
}
