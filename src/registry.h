/** The plug-ins that are built in: made from registry.def, in its order. */
#ifndef MR_REGISTRY_H
#define MR_REGISTRY_H

#include "millrace/backend.h"
#include "millrace/codec.h"
#include "millrace/model.h"
#include "millrace/sink.h"
#include "millrace/source.h"

/** The table of one kind, NULL at the end. */
extern const struct mr_source_ops *const mr_sources[];
extern const struct mr_codec_ops *const mr_codecs[];
extern const struct mr_model_ops *const mr_models[];
extern const struct mr_backend_ops *const mr_backends[];
extern const struct mr_sink_ops *const mr_sinks[];

/** A plug-in by name; NULL when there is none of that name. */
const struct mr_source_ops *mr_source_find(const char *name);
const struct mr_codec_ops *mr_codec_find(const char *name);
const struct mr_model_ops *mr_model_find(const char *name);
const struct mr_backend_ops *mr_backend_find(const char *name);
const struct mr_sink_ops *mr_sink_find(const char *name);

#endif
