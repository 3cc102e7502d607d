/** Commits of tests: a model that learns from two topics. */
#ifndef STATE_FIXTURE_H
#define STATE_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "state/record.h"

#define FIXTURE_SCHEMA  0x1234567890abcdefu
#define FIXTURE_UPDATES 3

struct state_fixture {
    struct mr_state_commit commit;
    struct mr_state_position position[3];
    struct mr_state_range range[5];
    struct mr_state_update update[FIXTURE_UPDATES];
};

/** Commit number seq: three updates of messages that follow those of the commit before; the last range is pending. */
static inline void fixture_commit(struct state_fixture *f, uint64_t seq, uint64_t snapshot, uint32_t index)
{
    const int64_t step = (int64_t)seq * 100;
    *f = (struct state_fixture){
        .position = {{"clicks", 0, step}, {"clicks", 7, 2 * step}, {"views", 0, 5000000000 + step}},
        .range =
            {{.position = 0, .first_offset = step - 90, .end_offset = step - 50},
             {.position = 2, .first_offset = step + 4999999900, .end_offset = step + 4999999950, .end_record = 3},
             {.position = 0, .first_offset = step - 50, .end_offset = step - 50, .first_record = 2, .end_record = 9},
             {.position = 1, .first_offset = 2 * step - 150, .first_record = 7, .end_offset = 2 * step},
             {.position = 0, .first_offset = step - 1, .end_offset = step}},
        .update = {{2, 100}, {1, 7}, {1, 0}}};
    f->commit = (struct mr_state_commit){.model = "m/1",
                                         .type = "linear",
                                         .unit = "cpu:avx2",
                                         .schema_hash = FIXTURE_SCHEMA,
                                         .run_id = 99,
                                         .kind = MR_STATE_LEARNED,
                                         .time_ms = 1700000000000,
                                         .seq = seq,
                                         .seq_before = seq - 1,
                                         .version_before = (seq - 1) * FIXTURE_UPDATES,
                                         .version_after = seq * FIXTURE_UPDATES,
                                         .snapshot = snapshot,
                                         .index = index,
                                         .in = seq * 10,
                                         .out = seq * 8,
                                         .dead = seq,
                                         .filtered = seq,
                                         .position = f->position,
                                         .range = f->range,
                                         .update = f->update,
                                         .position_count = 3,
                                         .range_count = 5,
                                         .update_count = FIXTURE_UPDATES};
}

/** The bytes of the model after a commit. */
static inline char *fixture_model(uint64_t seq, size_t bytes)
{
    char *const model = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) model[i] = (char)(seq * 31 + i * 7 + i / 256);
    return model;
}

/** Makes the commit one with a snapshot of these bytes. */
static inline void fixture_snapshot(struct state_fixture *f, const char *model, size_t bytes)
{
    f->commit.model_bytes = bytes;
    f->commit.model_checksum = mr_state_checksum(model, bytes);
}

#endif
