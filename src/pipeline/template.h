/** The output template compiled into a short program: a row of pieces and values that writes one JSON object. Internal to the encoder. */
#ifndef MR_PIPELINE_TEMPLATE_H
#define MR_PIPELINE_TEMPLATE_H

#include "pipeline/encode.h"

struct mr_template;

/** layout and info must outlive it. is_one_line: line breaks inside captured JSON become spaces. */
mr_status mr_template_create(const struct mr_job *job, const struct mr_layout *layout, const struct mr_model_info *const *info,
                             bool is_one_line, struct mr_template **template_out, struct mr_err *err);

/** At most how many bytes the object of this row takes, scratch of the writers included; cheap, and too high for text to be escaped. */
size_t mr_template_bytes_max(const struct mr_template *t, const struct mr_encode_input *input, const struct mr_rows *rows,
                             size_t row, const struct mr_message *message);

/** Writes the object of a row at out, which has room for mr_template_bytes_max; returns its end. */
char *mr_template_write(struct mr_template *t, const struct mr_encode_input *input, const struct mr_rows *rows, size_t row,
                        const struct mr_message *message, char *out);

/** Numbers printed as null because they were not finite. */
uint64_t mr_template_nonfinite_count(const struct mr_template *t);

/** Accepts NULL. */
void mr_template_destroy(struct mr_template *t);

#endif
