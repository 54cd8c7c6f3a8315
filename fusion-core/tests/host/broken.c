/* A plugin that copies its input, and, by -D, every breach of the contract that the host must refuse. */
#include <stddef.h>
#include <string.h>

#include "fusion_plugin.h"

#define TEXT(literal) { literal, sizeof(literal) - 1 }
#ifndef NEEDS_MINOR
#define NEEDS_MINOR 0
#endif

static fusion_status create(const fusion_host *host, const fusion_group *group, void **instance) {
    (void)host, (void)group;
    *instance = NULL;
    return FUSION_OK;
}

static void destroy(void *instance) { (void)instance; }

static fusion_status apply(void *instance, const fusion_call *call) {
    (void)instance;
#ifdef FAILS
    const fusion_str message = TEXT("out of luck"), nowhere = TEXT("");
    call->host->report(call->host->ctx, FUSION_FAILED, message, nowhere);
    return FUSION_FAILED;
#else
    memcpy(call->outputs[0].dl.data, call->inputs[0].dl.data, (size_t)call->inputs[0].dl.shape[0] * sizeof(float));
    return FUSION_OK;
#endif
}

static const fusion_port ports[] = { {
    .struct_size = sizeof(fusion_port),
    .name = TEXT("from"),
    .doc = TEXT("a model"),
#ifdef BAD_PORT
    .min = 3,
    .max = 2,
#else
    .min = 1,
    .max = 1,
#endif
} };

#define METHOD { \
    .struct_size = sizeof(fusion_method), .id = ID, .title = TEXT("copies"), .formula = TEXT("θ = θ₁"), \
    .citation = TEXT("none"), .params_schema = SCHEMA, .version = 1, .category = CATEGORY, .kernel = KERNEL, \
    .observe_passes = PASSES, .ports = ports, .n_ports = 1, .create = create, .destroy = destroy, .apply = APPLY, \
}

#ifdef BAD_METHOD_ID
#define ID TEXT("Copy")
#else
#define ID TEXT("copy")
#endif
#ifdef BAD_SCHEMA
#define SCHEMA TEXT("{")
#else
#define SCHEMA TEXT("{\"type\": \"object\", \"properties\": {}, \"additionalProperties\": false}")
#endif
#ifdef BAD_CATEGORY
#define CATEGORY 77
#else
#define CATEGORY 3
#endif
#ifdef BAD_KERNEL
#define KERNEL 9
#else
#define KERNEL FUSION_KERNEL_ELEMENTWISE
#endif
#ifdef HALF_OBSERVE
#define PASSES 1
#else
#define PASSES 0
#endif
#ifdef NO_APPLY
#define APPLY NULL
#else
#define APPLY apply
#endif

static const fusion_method methods[] = {
    METHOD,
#ifdef TWICE
    METHOD,
#endif
};

static const fusion_str services[] = { TEXT("acme.time/1") };

static const fusion_plugin plugin = {
#ifdef SHORT_PLUGIN
    .struct_size = 16,
#else
    .struct_size = sizeof(fusion_plugin),
#endif
    .built_major = FUSION_ABI_MAJOR,
    .needs_minor = NEEDS_MINOR,
#ifdef BAD_PLUGIN_ID
    .id = TEXT("Bad Id"),
#else
    .id = TEXT("org.fusion.tests.copy"),
#endif
    .version = TEXT("1.0.0"),
    .license = TEXT("MIT"),
    .build_info = TEXT("C"),
    .methods = methods,
#ifndef NO_METHODS
    .n_methods = sizeof(methods) / sizeof(methods[0]),
#endif
    .services = services,
#ifdef NEEDS_SERVICE
    .n_services = 1,
#endif
};

#if defined(NO_ENTRY)
#define NAME something_else
#elif defined(OTHER_MAJOR)
#define NAME fusion_plugin_entry_v2
#else
#define NAME FUSION_ENTRY
#endif

const fusion_plugin *NAME(const fusion_host *host);

const fusion_plugin *NAME(const fusion_host *host) {
    (void)destroy, (void)apply, (void)plugin;
#ifdef REFUSES
    const fusion_str message = TEXT("no licence"), nowhere = TEXT("");
    host->report(host->ctx, FUSION_UNSUPPORTED, message, nowhere);
    return NULL;
#else
    (void)host;
    return &plugin;
#endif
}
