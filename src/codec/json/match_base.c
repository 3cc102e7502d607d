/* Matching a template, one slot after the other, eight bytes at a time in ordinary registers. */
#include "codec/json/match.h"

static inline const char *base_match(const struct json_template *template, const char *text, const char *end, float *x,
                                     const char **gap)
{
    return json_match_slots(template, 0, text, end, x, gap);
}

const char *json_match_base(const struct json_template *template, const char *text, const char *end, float *x,
                            const char **gap)
{
    return base_match(template, text, end, x, gap);
}

size_t json_run_single_base(const struct json_run *run, const struct mr_message *messages, size_t first, size_t count)
{
    return json_run_single_with(base_match, run, messages, first, count);
}

const char *json_run_lines_base(const struct json_run *run, const char *text, const char *end, uint32_t message)
{
    return json_run_lines_with(base_match, run, text, end, message);
}
