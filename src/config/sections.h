/** What a job file may hold, as tables: loader, schema, reference page and `config show` all walk these. */
#ifndef MR_CONFIG_SECTIONS_H
#define MR_CONFIG_SECTIONS_H

#include "config/job.h"

typedef enum { MR_PLUG_NONE, MR_PLUG_SOURCE, MR_PLUG_CODEC, MR_PLUG_MODEL, MR_PLUG_SINK, MR_PLUG_BACKEND } mr_plug_kind;

/** What all kinds of plug-ins have in common. */
struct mr_plug {
    const char *name;
    const char *summary;
    const struct mr_option *options;
    size_t options_size;
    mr_status (*check)(const void *options, struct mr_err *err); /* may be NULL */
    const void *ops;
};

/** The plug-in of that kind at an index; false behind the last one. */
bool mr_plug_at(mr_plug_kind kind, size_t index, struct mr_plug *plug_out);

/** The plug-in of that kind by name. */
bool mr_plug_find(mr_plug_kind kind, const char *name, struct mr_plug *plug_out);

/** "source", "format", "model", "sink", "backend": as the job file calls them. */
const char *mr_plug_kind_name(mr_plug_kind kind);

/** Where the keys that choose a plug-in go while a section is read. */
struct mr_selector {
    char *plug; /* "type" or "format" */
    char *name; /* models only */
    char *file, *input, *save, *topic;
};

/** One section: a key of the job whose value is an object, or an array of objects. */
struct mr_section {
    const char *key;
    const char *doc;
    bool is_list, is_required;
    mr_plug_kind kind;                 /* its selector chooses the plug-in whose options stand beside; NONE: plain */
    const char *selector;              /* "type", "format"; NULL with NONE */
    const struct mr_option *selectors; /* rows into struct mr_selector; may be NULL */
    const struct mr_option *rows;      /* rows into the struct at `offset` of struct mr_job; may be NULL */
    size_t offset;
    const char *example; /* JSON, for the reference page */
};

/** All sections in the order of the reference page, key NULL at the end. */
extern const struct mr_section mr_sections[];

/** Keys of the job whose values are plain: rows into struct mr_job. */
extern const struct mr_option mr_job_options[];

const struct mr_section *mr_section_find(const char *key);

/** True for a name that DESIGN gives to something that this build does not have yet; where: a section key, "delivery"
 * or "". */
bool mr_is_planned(const char *where, const char *name);

#endif
