#include "cli/past_flags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reads TOPIC/0=12 in place: the topic is cut off. */
static bool entry_read(char *text, struct mr_state_position *position)
{
    char *const slash = strrchr(text, '/'), *end;
    if (!slash || slash == text) return false;
    *slash = '\0';
    errno = 0;
    const long partition = strtol(slash + 1, &end, 10);
    if (end == slash + 1 || *end != '=' || partition < 0 || partition > INT32_MAX) return false;
    const char *const number = end + 1;
    const long long offset = strtoll(number, &end, 10);
    if (end == number || *end || offset < 0 || errno) return false;
    *position = (struct mr_state_position){text, (int32_t)partition, offset};
    return true;
}

/* The positions, with their texts behind them. */
static mr_status offsets_read(const char *text, struct mr_past_target *target, struct mr_err *err)
{
    size_t count = 1, bytes = strlen(text) + 1;
    for (const char *at = text; *at; at++) count += *at == ',';
    target->position = calloc(1, count * sizeof *target->position + bytes);
    if (!target->position) return mr_fail(err, MR_ENOMEM, "out of memory");
    char *at = memcpy((char *)(target->position + count), text, bytes), *next;
    for (size_t i = 0; i < count; i++, at = next) {
        next = at + strcspn(at, ",");
        if (*next) *next++ = '\0';
        if (!entry_read(at, &target->position[i]))
            return mr_fail(err, MR_EUSAGE, "--to \"%s\": expected offsets such as points/0=12,points/1=99", text);
    }
    target->state.position = target->position;
    target->state.position_count = count;
    return MR_OK;
}

mr_status mr_past_target_read(const struct mr_past_words *words, struct mr_past_target *target_out, struct mr_err *err)
{
    const int given = (words->to != NULL) + (words->version >= 0) + (words->commit >= 0);
    *target_out = (struct mr_past_target){0};
    if (given != 1)
        return mr_fail(err, MR_EUSAGE,
                       given ? "say one of --version, --commit and --to, not several"
                             : "which state? Say --version N or --commit N: `millrace model list JOB`");
    target_out->state.by = words->to             ? MR_STATE_AT_OFFSETS
                           : words->version >= 0 ? MR_STATE_AT_VERSION
                                                 : MR_STATE_AT_SEQ;
    target_out->state.number = (uint64_t)(words->version >= 0 ? words->version : words->commit);
    const mr_status status = words->to ? offsets_read(words->to, target_out, err) : MR_OK;
    if (status) mr_past_target_deinit(target_out);
    return status;
}

void mr_past_target_deinit(struct mr_past_target *target)
{
    free(target->position);
    *target = (struct mr_past_target){0};
}
