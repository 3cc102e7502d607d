#include "cli/data_model.h"

#include <stdio.h>
#include <string.h>

#include "base/options.h"

static bool is_numbers(const struct mr_model_info *info)
{
    for (size_t i = 0; i < info->feature_count; i++) {
        const char *const name = info->feature[i];
        if (!*name || *name == '0' || strspn(name, "0123456789") != strlen(name)) return false;
    }
    return true;
}

/* The names that the model has, as paths: in quotes, so that none is taken for a number or for more than a name; but
 * columns of a file without a header are called by their numbers. */
static mr_status names_fill(const struct mr_model_info *info, const struct mr_table_options *options,
                            struct mr_strings *features, struct mr_err *err)
{
    const bool is_plain = mr_map_get(&options->record, "header") == NULL && is_numbers(info);
    char path[MR_FIELD_PATH_MAX];
    for (size_t i = 0; i < info->feature_count; i++) {
        const char *const name = info->feature[i];
        if (strlen(name) > sizeof path - 3)
            return mr_fail(err, MR_EUSAGE, "feature %zu of the model has a name of more than %zu bytes: say --features",
                           i + 1, sizeof path - 3);
        snprintf(path, sizeof path, is_plain ? "%s" : "\"%s\"", name);
        if (!mr_strings_add(features, path)) return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    return MR_OK;
}

mr_status mr_data_open(const char *path, const struct mr_table_options *options, mr_label_kind kind,
                       const struct mr_model_info *info, struct mr_table **table_out, struct mr_err *err)
{
    struct mr_table_options chosen = *options;
    struct mr_strings names = {0};
    mr_status status = MR_OK;
    size_t count;
    *table_out = NULL;
    if (!chosen.features.count && info->feature) {
        status = names_fill(info, options, &names, err);
        chosen.features = names;
    }
    if (!status) status = mr_table_open(path, &chosen, kind, table_out, err);
    mr_strings_deinit(&names);
    if (status) return status;
    mr_table_feature(*table_out, &count);
    if (count == info->feature_count) return MR_OK;
    mr_table_close(*table_out);
    *table_out = NULL;
    return mr_fail(err, MR_EUSAGE, "the model reads %zu features and %s has %zu%s: say which with --features",
                   info->feature_count, path && strcmp(path, "-") != 0 ? path : "<stdin>", count,
                   kind == MR_LABEL_NONE ? "" : " beside the label");
}

mr_status mr_data_scorer_open(struct mr_scorer *scorer, const char *path, const char *backend, struct mr_err *err)
{
    char key[] = "output", value[] = "rating";
    struct mr_pair pair = {key, value};
    const struct mr_map rating = {&pair, 1};
    const mr_status status = mr_scorer_open(scorer, path, NULL, backend, err);
    if (status || !scorer->info->item_count) return status;
    mr_scorer_close(scorer);
    return mr_scorer_open(scorer, path, &rating, backend, err);
}

void mr_data_skipped_print(const struct mr_table *table)
{
    const unsigned long long count = mr_table_skipped(table);
    if (count) fprintf(stderr, "%s: %llu bad row%s left out\n", mr_table_path(table), count, count == 1 ? "" : "s");
}
