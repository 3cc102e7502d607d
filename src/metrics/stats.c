#include "metrics/stats.h"

static const char *const stages[MR_STAGE_COUNT] = {
    [MR_STAGE_POLL] = "poll",     [MR_STAGE_WAIT] = "wait", [MR_STAGE_DECODE] = "decode", [MR_STAGE_SCORE] = "score",
    [MR_STAGE_ENCODE] = "encode", [MR_STAGE_EMIT] = "emit", [MR_STAGE_SETTLE] = "settle",
};

const char *mr_stage_name(mr_stage stage)
{
    return (unsigned)stage < MR_STAGE_COUNT ? stages[stage] : "unknown";
}
