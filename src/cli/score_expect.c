/* Scores held against a file of those that should come out. */
#include <stdlib.h>

#include "cli/differences_print.h"
#include "cli/score.h"

#define WORST_ROWS 5

mr_status mr_score_expect_open(struct score *score, struct mr_err *err)
{
    const struct score_options *const options = score->options;
    if (!options->expect) return MR_OK;
    const mr_status status =
        mr_expected_open(&score->expected, options->expect, &options->expect_fields, score->info, SCORE_ROW_CAP, err);
    return status ? status : mr_differences_init(&score->differences, score->info, options->tolerance, WORST_ROWS, err);
}

mr_status mr_score_expect_rows(struct score *score, struct mr_err *err)
{
    if (!score->options->expect) return MR_OK;
    if (score->bad_count)
        return mr_fail(err, MR_EDATA, "--expect: a row that cannot be scored has nothing to hold against %s",
                       score->options->expect);
    const mr_status status = mr_expected_next(&score->expected, score->rows.row_count, err);
    if (!status)
        mr_differences_add(&score->differences, &score->scores, &score->expected.scores, score->rows.row_count);
    return status;
}

mr_status mr_score_expect_end(struct score *score, struct mr_err *err)
{
    const char *const expect = score->options->expect;
    if (!expect) return MR_OK;
    const mr_status status = mr_expected_end(&score->expected, err);
    if (status) return status;
    if (score->options->json) {
        cJSON *const object = cJSON_CreateObject();
        mr_differences_add_json(object, &score->differences, score->info);
        char *const text = cJSON_PrintUnformatted(object);
        if (text) fprintf(stderr, "%s\n", text);
        free(text);
        cJSON_Delete(object);
    } else {
        mr_differences_print(stderr, &score->differences, score->info, "the scores", expect);
    }
    return mr_differences_judge(&score->differences, expect, err);
}

void mr_score_expect_close(struct score *score)
{
    mr_expected_close(&score->expected);
    mr_differences_deinit(&score->differences);
}
