/** Ids of users or items: from text to index, and ready as JSON text. */
#ifndef MR_MODEL_MF_IDS_H
#define MR_MODEL_MF_IDS_H

#include <stdint.h>

#include "base/intern.h"
#include "modelfile/model_file.h"

/** An id is its characters: the number 196 and the string "196" are one id. Immutable once read: any thread may look
 * up. */
struct mr_ids {
    struct mr_span *json; /* [count]: 196, or "an \"id\"" */
    struct mr_intern set; /* their characters: an id's number is its index */
    size_t count, json_bytes_max;
    char *text; /* of json */
};

/**
 * Reads the ids of `count` things from a model file: tensor `NAME` (I64), or `NAME.text` (U8) with `NAME.offsets`
 * (I64, count + 1); without either an id is its index. MR_EDATA names the file, the tensor and the reason (an id
 * twice, offsets that do not ascend); MR_ENOMEM. On error call deinit.
 */
mr_status mr_ids_read(const struct mr_safetensors *file, const char *name, size_t count, struct mr_ids *ids,
                      struct mr_err *err);
void mr_ids_deinit(struct mr_ids *ids);

#endif
