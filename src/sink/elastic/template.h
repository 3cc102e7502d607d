/** The index template that a sink brings: how fields are mapped in an index that does not exist yet. */
#ifndef MR_SINK_ELASTIC_TEMPLATE_H
#define MR_SINK_ELASTIC_TEMPLATE_H

#include "millrace/status.h"

#include <stdbool.h>
#include <stddef.h>

/**
 * The default one for an index or data stream: @timestamp a date, all numbers float64 (else the first value decides,
 * and a field that begins with 1 loses the half of 1.5), texts keywords. _meta says who made it, so that it is known
 * again. To be freed; NULL: no memory.
 */
char *mr_template_default(const char *index, bool is_data_stream);

/** The one in a file, which must be a JSON object. To be freed. MR_EINPUT, MR_ENOMEM. */
mr_status mr_template_file(const char *path, char **text_out, struct mr_err *err);

/** Whether the server's answer to a look at the template shows what `text` would make: nothing in it is missing or
 * other there; what the server has beside it (version numbers) does not count. */
bool mr_template_is_same(const char *text, const char *answer, size_t bytes);

#endif
