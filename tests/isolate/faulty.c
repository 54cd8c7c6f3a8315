/* A plugin with a method of every kernel class that works, unless the name of the group's first tensor says where and how it must not:
   `apply.segfault`, `create.exit`, `run.loop`, … */
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusion_plugin.h"

#define TEXT(literal) { literal, sizeof(literal) - 1 }
#define SCHEMA \
    TEXT("{\"type\": \"object\", \"properties\": {\"strength\": {\"type\": \"number\", \"default\": 1, \"x-input\": true}}, " \
         "\"additionalProperties\": false}")

typedef struct {
    char first[256];
    uint64_t members, inputs;
    int due;
    double sum, strength;
} instance_t;

static volatile uintptr_t nowhere = 8;
static volatile int forever = 1;

static int is(const char *text, const char *where, const char *how) {
    const size_t n = strlen(where);
    return strncmp(text, where, n) == 0 && text[n] == '.' && strcmp(text + n + 1, how) == 0;
}

static fusion_status fail(const fusion_host *host, const char *text, const char *pointer) {
    const fusion_str message = { text, strlen(text) }, at = { pointer, strlen(pointer) };
    host->report(host->ctx, FUSION_INVALID, message, at);
    return FUSION_INVALID;
}

/* What the name asks for. */
static fusion_status fault(const instance_t *self, const fusion_host *host, const char *where) {
    const char *name = self->first;
    if (is(name, where, "segfault")) *(volatile int *)nowhere = 1;
    if (is(name, where, "abort")) {
        fprintf(stderr, "free(): invalid pointer\n");
        abort();
    }
    if (is(name, where, "exit")) exit(3);
    if (is(name, where, "loop")) while (forever) { }
    if (is(name, where, "stop")) raise(SIGSTOP);
    if (is(name, where, "fork")) {
        if (fork() == 0) {
            sleep(20);
            _exit(0);
        }
        abort();
    }
    if (is(name, where, "print")) {
        for (int i = 0; i < 1000; ++i) printf("{\"Done\": %d} and a line that is nobody's message\n", i);
        fflush(stdout);
        if (getchar() != EOF) return fail(host, "there was something to read", "");
    }
    if (is(name, where, "fail")) return fail(host, "out of luck\nhelp: try again", "/strength");
    if (is(name, where, "pid")) {
        char text[64];
        snprintf(text, sizeof(text), "%ld", (long)getpid());
        return fail(host, text, "");
    }
    /* Says so when it is asked to stop. */
    if (is(name, where, "wait")) {
        while (!host->cancelled(host->ctx)) usleep(1000);
        return FUSION_CANCELLED;
    }
    return FUSION_OK;
}

static fusion_status create(const fusion_host *host, const fusion_group *group, void **instance) {
    instance_t *self = calloc(1, sizeof(instance_t));
    const fusion_str name = group->members[0].name;
    const size_t n = name.len < sizeof(self->first) - 1 ? (size_t)name.len : sizeof(self->first) - 1;
    memcpy(self->first, name.ptr, n);
    self->members = group->n_members;
    self->inputs = group->members[0].n_inputs;
    self->strength = group->members[0].n_settings > 0 ? group->members[0].settings[0] : 1.0;
    if (isnan(self->strength)) self->strength = 1.0;
    self->due = 1;
    const fusion_status status = fault(self, host, "create");
    if (status != FUSION_OK) free(self);
    else *instance = self;
    return status;
}

static void destroy(void *instance) {
    const instance_t *self = instance;
    if (is(self->first, "destroy", "segfault")) *(volatile int *)nowhere = 1;
    free(instance);
}

/* Tensors called `plan.*` are copied. */
static fusion_status plan(void *instance, const fusion_host *host, uint64_t member, fusion_plan *plan) {
    const instance_t *self = instance;
    (void)host, (void)member;
    if (strcmp(self->first, "plan.copy") == 0) plan->action = FUSION_ACTION_COPY_FIRST;
    plan->scratch_bytes = 64;
    return FUSION_OK;
}

/* ---- element-wise: the sum of the inputs over one plus the mean magnitude of every second tile of the first input ---- */

static uint32_t observing(void *instance) { return (uint32_t)((instance_t *)instance)->due; }

static uint32_t wants(void *instance, uint64_t member, uint64_t tile) {
    (void)instance;
    return (tile + member) % 2 == 0;
}

static fusion_status state_new(void *instance, const fusion_host *host, void **state) {
    *state = calloc(1, sizeof(double));
    return fault(instance, host, "state_new");
}

static fusion_status observe(void *instance, const fusion_call *call, void *state) {
    const float *x = call->inputs[0].dl.data;
    double sum = 0;
    for (int64_t i = 0; i < call->inputs[0].dl.shape[0]; ++i) sum += fabs((double)x[i]);
    *(double *)state += sum;
    return fault(instance, call->host, "observe");
}

static fusion_status absorb(void *instance, const fusion_host *host, void *state) {
    ((instance_t *)instance)->sum += *(double *)state;
    *(double *)state = 0;
    return fault(instance, host, "absorb");
}

static fusion_status pass_end(void *instance, const fusion_host *host) {
    ((instance_t *)instance)->due = 0;
    return fault(instance, host, "pass_end");
}

static void state_free(void *instance, void *state) {
    (void)instance;
    free(state);
}

static fusion_status spread(void *instance, const fusion_call *call) {
    const instance_t *self = instance;
    float *out = call->outputs[0].dl.data;
    const double factor = self->strength / (1 + self->sum / (double)call->inputs[0].total);
    const fusion_status status = fault(self, call->host, "apply");
    if (status != FUSION_OK) return status;
    for (int64_t i = 0; i < call->outputs[0].dl.shape[0]; ++i) {
        double sum = 0;
        for (uint64_t m = 0; m < call->n_inputs; ++m) sum += ((const float *)call->inputs[m].dl.data)[i];
        out[i] = (float)(sum * factor);
    }
    return FUSION_OK;
}

/* ---- whole tensor: rows without their mean, on the host's threads ---- */

typedef struct {
    const fusion_call *call;
    int64_t width;
} rows_t;

static fusion_status one_row(void *data, uint64_t row, uint32_t worker) {
    const rows_t *rows = data;
    const float *x = (const float *)rows->call->inputs[0].dl.data + (int64_t)row * rows->width;
    float *out = (float *)rows->call->outputs[0].dl.data + (int64_t)row * rows->width;
    double sum = 0;
    (void)worker;
    for (int64_t i = 0; i < rows->width; ++i) sum += x[i];
    for (int64_t i = 0; i < rows->width; ++i) out[i] = (float)(x[i] - sum / (double)rows->width);
    return FUSION_OK;
}

static const void *service(const fusion_host *host, const char *name) {
    const fusion_str id = { name, strlen(name) };
    return host->service(host->ctx, id);
}

static fusion_status centre(void *instance, const fusion_call *call) {
    const fusion_threads_v1 *threads = service(call->host, "fusion.threads/1");
    const fusion_dltensor *x = &call->inputs[0].dl;
    const fusion_str half = TEXT("half");
    const fusion_status status = fault(instance, call->host, "apply");
    if (status != FUSION_OK || call->inputs[0].total == 0) return status;
    rows_t rows = { call, x->ndim > 0 ? x->shape[x->ndim - 1] : 1 };
    call->host->progress(call->host->ctx, 1, 2, half);
    return threads->for_each(threads->ctx, call->inputs[0].total / (uint64_t)rows.width, one_row, &rows);
}

/* ---- group: over the largest magnitude of the group ---- */

static fusion_status balance(void *instance, const fusion_call *call) {
    float most = 0;
    const fusion_status status = fault(instance, call->host, "apply");
    if (status != FUSION_OK) return status;
    for (uint64_t m = 0; m < call->n_inputs; ++m)
        for (uint64_t i = 0; i < call->inputs[m].total; ++i)
            most = fmaxf(most, fabsf(((const float *)call->inputs[m].dl.data)[i]));
    for (uint64_t m = 0; m < call->n_outputs; ++m)
        for (uint64_t i = 0; i < call->outputs[m].total; ++i)
            ((float *)call->outputs[m].dl.data)[i] = ((const float *)call->inputs[m].dl.data)[i] / most;
    return FUSION_OK;
}

/* ---- whole model: the first model plus the mean of the second, members side by side ---- */

typedef struct {
    const fusion_model_v1 *models;
    float mean;
} shift_t;

static fusion_status one_member(void *data, uint64_t member, uint32_t worker) {
    const shift_t *shift = data;
    const fusion_model_v1 *models = shift->models;
    fusion_tensor tensor;
    (void)worker;
    fusion_status status = models->read(models->ctx, 0, member, &tensor);
    if (status != FUSION_OK) return status;
    float *shifted = malloc((size_t)tensor.total * sizeof(float) + 1);
    for (uint64_t i = 0; i < tensor.total; ++i) shifted[i] = ((const float *)tensor.dl.data)[i] + shift->mean;
    models->release(models->ctx, &tensor);
    status = models->write(models->ctx, member, shifted, tensor.total);
    free(shifted);
    return status;
}

static fusion_status shift(void *instance, const fusion_call *call) {
    const instance_t *self = instance;
    const fusion_model_v1 *models = service(call->host, "fusion.model/1");
    const fusion_threads_v1 *threads = service(call->host, "fusion.threads/1");
    fusion_tensor tensor;
    double sum = 0, count = 0;
    for (uint64_t member = 0; member < self->members; ++member) {
        const fusion_status read = models->read(models->ctx, 1, member, &tensor);
        if (read != FUSION_OK) return read;
        for (uint64_t i = 0; i < tensor.total; ++i) sum += ((const float *)tensor.dl.data)[i];
        count += (double)tensor.total;
        models->release(models->ctx, &tensor);
        const fusion_str name = tensor.name;
        if (models->find(models->ctx, name) != member) return fail(call->host, "it is not found", "");
        call->host->progress(call->host->ctx, member, self->members, name);
    }
    const fusion_status status = fault(self, call->host, "run");
    if (status != FUSION_OK) return status;
    if (is(self->first, "run", "short")) {
        const float one = 1;
        return models->write(models->ctx, 0, &one, 1);
    }
    if (is(self->first, "run", "nowhere")) return models->read(models->ctx, 7, 0, &tensor);
    shift_t all = { models, (float)(sum / count) };
    return threads->for_each(threads->ctx, self->members, one_member, &all);
}

#define PORT(role, space_, min_, max_) \
    { .struct_size = sizeof(fusion_port), .name = TEXT(role), .doc = TEXT("models"), .space = space_, \
      .flags = FUSION_PORT_SETTINGS, .min = min_, .max = max_ }

static const fusion_port any[] = { PORT("from", FUSION_SPACE_WEIGHTS, 1, UINT32_MAX) };
static const fusion_port one[] = { PORT("from", FUSION_SPACE_WEIGHTS, 1, 1) };
static const fusion_port two[] = { PORT("from", FUSION_SPACE_WEIGHTS, 2, 2) };
static const fusion_port deltas[] = { PORT("base", FUSION_SPACE_WEIGHTS, 1, 1),
                                      PORT("from", FUSION_SPACE_DELTA, 1, UINT32_MAX) };
static const fusion_str numbers[] = { TEXT("strength") };

#define METHOD(name, kernel_, ports_, n, ...) \
    { .struct_size = sizeof(fusion_method), .id = TEXT(name), .title = TEXT("a test's"), .formula = TEXT("θ"), \
      .citation = TEXT("none"), .params_schema = SCHEMA, .version = 1, .category = 3, .kernel = kernel_, \
      .ports = ports_, .n_ports = n, .numbers = numbers, .n_numbers = 1, .create = create, .destroy = destroy, \
      .plan = plan, __VA_ARGS__ }
#define SPREAD \
    .observe_passes = 1, .observing = observing, .wants = wants, .state_new = state_new, .observe = observe, \
    .absorb = absorb, .pass_end = pass_end, .state_free = state_free, .apply = spread

static const fusion_method methods[] = {
    METHOD("spread", FUSION_KERNEL_ELEMENTWISE, any, 1, SPREAD),
    METHOD("spread_deltas", FUSION_KERNEL_ELEMENTWISE, deltas, 2, SPREAD),
    METHOD("centre", FUSION_KERNEL_TENSOR, one, 1, .apply = centre),
    METHOD("balance", FUSION_KERNEL_GROUP, one, 1, .apply = balance),
    METHOD("shift", FUSION_KERNEL_MODEL, two, 1, .run = shift),
};

static const fusion_plugin plugin = {
    .struct_size = sizeof(fusion_plugin),
    .built_major = FUSION_ABI_MAJOR,
    .id = TEXT("org.fusion.tests.faulty"),
    .version = TEXT("1.0.0"),
    .license = TEXT("MIT"),
    .build_info = TEXT("C"),
    .methods = methods,
    .n_methods = sizeof(methods) / sizeof(methods[0]),
};

const fusion_plugin *FUSION_ENTRY(const fusion_host *host);

const fusion_plugin *FUSION_ENTRY(const fusion_host *host) {
    (void)host;
#ifdef DIES
    raise(SIGILL);
#endif
#ifdef REFUSES
    const fusion_str message = TEXT("no licence"), pointer = TEXT("");
    host->report(host->ctx, FUSION_UNSUPPORTED, message, pointer);
    return NULL;
#endif
    return &plugin;
}
