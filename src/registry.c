#include "registry.h"

/* For each kind: declare the ops tables and list them. */
#define MR_SOURCE(name)  extern const struct mr_source_ops mr_source_##name;
#define MR_CODEC(name)   extern const struct mr_codec_ops mr_codec_##name;
#define MR_MODEL(name)   extern const struct mr_model_ops mr_model_##name;
#define MR_BACKEND(name) extern const struct mr_backend_ops mr_backend_##name;
#define MR_SINK(name)    extern const struct mr_sink_ops mr_sink_##name;
#include "registry.def"
#undef MR_SOURCE
#undef MR_CODEC
#undef MR_MODEL
#undef MR_BACKEND
#undef MR_SINK

const struct mr_source_ops *const mr_sources[] = {
#define MR_SOURCE(name) &mr_source_##name,
#include "registry.def"
#undef MR_SOURCE
    NULL};

const struct mr_codec_ops *const mr_codecs[] = {
#define MR_CODEC(name) &mr_codec_##name,
#include "registry.def"
#undef MR_CODEC
    NULL};

const struct mr_model_ops *const mr_models[] = {
#define MR_MODEL(name) &mr_model_##name,
#include "registry.def"
#undef MR_MODEL
    NULL};

const struct mr_backend_ops *const mr_backends[] = {
#define MR_BACKEND(name) &mr_backend_##name,
#include "registry.def"
#undef MR_BACKEND
    NULL};

const struct mr_sink_ops *const mr_sinks[] = {
#define MR_SINK(name) &mr_sink_##name,
#include "registry.def"
#undef MR_SINK
    NULL};
