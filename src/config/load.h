/** What the steps of reading a job file share. Internal to src/config. */
#ifndef MR_CONFIG_LOAD_H
#define MR_CONFIG_LOAD_H

#include "config/document.h"
#include "config/job.h"
#include "config/report.h"
#include "config/sections.h"

struct mr_load {
    struct mr_document document;
    struct mr_report report;
    struct mr_job *job;
    char *folder; /* of the job file; "" is the current one */
    bool is_out_of_memory;
};

/** One option table and the struct that it fills. */
struct mr_target {
    const struct mr_option *table;
    void *options;
};

/** Reads and checks a job into a zeroed load; findings are in load->report. path is borrowed until mr_load_deinit. */
void mr_load_text(struct mr_load *load, const char *path, const char *text, size_t bytes);

/** Prints the findings and says in one line how it went: MR_OK, MR_ECONFIG or MR_ENOMEM. */
mr_status mr_load_finish(struct mr_load *load, FILE *talk, bool is_json, struct mr_err *err);

/** Frees what mr_load_text made, the job included. */
void mr_load_deinit(struct mr_load *load);

/**
 * Reads the values of an object into the targets (filled with fallbacks before). Unknown keys, wrong values and missing
 * required ones become findings. what: "a kafka sink", for messages. is_open: the plug-in is unknown, and so
 * is what fits: unknown keys are let pass, unless one looks like a mistyped key that is not there.
 */
void mr_load_object(struct mr_load *load, uint32_t node, const struct mr_target *targets, size_t target_count,
                    const char *what, bool is_open);

/** Whether an unknown key of the object looks like this one, mistyped: that has a finding of its own then. Of the
 * targets only the tables count. */
bool mr_load_is_mistyped(const struct mr_load *load, uint32_t node, const struct mr_target *targets,
                         size_t target_count, const char *key);

/** Reads one value by its row. A wrong one becomes a finding. */
void mr_load_value(struct mr_load *load, uint32_t node, const struct mr_option *row, void *options);

/** Prints JSON with two blanks for each level. MR_ENOMEM: nothing was printed; root may be NULL then. */
mr_status mr_json_print(const cJSON *root, FILE *out);

/** A default as JSON would write it; NULL when the row has none. */
cJSON *mr_fallback_json(const struct mr_option *row);

/** Reads all sections and plain keys of the job. */
void mr_load_job(struct mr_load *load);

/** Checks what several keys mean together. Needs no network. Run it after mr_load_job, also when that had findings. */
void mr_load_cross_check(struct mr_load *load);

/** Whether models can learn from some topics alone, where the job asks for it. */
void mr_load_check_learn_topics(struct mr_load *load);

/** What http.truth says is about something that the job has. */
void mr_load_check_truth(struct mr_load *load);

/** What the source cannot give to the rest of the job. */
void mr_load_check_source(struct mr_load *load);

/** Opens the model files and works out the layout: do they fit the record and emit? The latter only when there are no
 * findings yet. */
void mr_load_check_models(struct mr_load *load);

/** Makes the Kafka clients of the job once, without brokers: would librdkafka take the properties together? Only when
 * there are no findings yet. */
void mr_load_check_clients(struct mr_load *load);

/** Whether the value of that path has an error of its own: then what builds upon it is not to be judged. */
bool mr_load_has_finding(const struct mr_load *load, const char *path);

/** Adds an error at a node, with its path before the text. */
void mr_load_error(struct mr_load *load, uint32_t node, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** The value of a string node with ${...} replaced, to be freed; NULL after a finding or without memory. */
char *mr_load_string(struct mr_load *load, uint32_t node);

/** "an object", "an array", the number as written, or the string in quotes; "[set]" for what must not be seen. */
const char *mr_load_found(const struct mr_load *load, uint32_t node, bool is_secret, char out[MR_QUOTED_BYTES]);

/** Adds "did you mean" to the last finding when near is not NULL. */
void mr_load_suggest(struct mr_load *load, const char *near);

/** The node of section.key, or of the section when it has no such key, or of the whole. key may be NULL. */
uint32_t mr_load_find(const struct mr_load *load, const char *section, const char *key);

/** The entry of a list; the list itself, or what is there instead, where it has none. */
uint32_t mr_load_find_item(const struct mr_load *load, const char *section, const char *key, size_t index);

#endif
