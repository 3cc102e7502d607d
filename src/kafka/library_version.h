/** Which librdkafka this process runs on, which need not be the one that it was built with, and what follows from it.
 */
#ifndef MR_KAFKA_LIBRARY_VERSION_H
#define MR_KAFKA_LIBRARY_VERSION_H

#include <stdbool.h>
#include <stddef.h>

struct cJSON;

struct mr_library_note {
    unsigned from, to; /* versions as rd_kafka_version() tells them, to excluded; 0: no bound */
    bool is_bug;       /* to be avoided; else it is stepped around */
    const char *what;  /* millrace does, or the bug does */
    const char *why;   /* or the remedy */
};

/** The next note on a version behind `before` (NULL: the first); NULL at the end. */
const struct mr_library_note *mr_library_note_next(unsigned version, const struct mr_library_note *before);

/** Says it in the log: the version and what follows in a line of level info, bugs as warnings. */
void mr_library_log(void);

/** Adds "librdkafka_notes" to a JSON object: an array of {"is_bug", "what", "why"}. */
void mr_library_notes_add(struct cJSON *root);

#endif
