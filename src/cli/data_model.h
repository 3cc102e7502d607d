/** DATA as a model reads it. */
#ifndef MR_CLI_DATA_MODEL_H
#define MR_CLI_DATA_MODEL_H

#include "scoring/scorer.h"
#include "table/table.h"

/**
 * Opens DATA (mr_table_open) with the features that the flags name; without any with those that the model names; where
 * it names none, either, all columns but the label. MR_EUSAGE: these are not as many as the model reads.
 */
mr_status mr_data_open(const char *path, const struct mr_table_options *options, mr_label_kind kind,
                       const struct mr_model_info *info, struct mr_table **table_out, struct mr_err *err);

/** As mr_scorer_open; a recommender as one that estimates ratings of users and items, whatever a job would ask it for.
 */
mr_status mr_data_scorer_open(struct mr_scorer *scorer, const char *path, const char *backend, struct mr_err *err);

/** Says on stderr how many bad rows were left out, if any were. */
void mr_data_skipped_print(const struct mr_table *table);

#endif
