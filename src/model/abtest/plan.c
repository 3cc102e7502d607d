/* What is tested, and how: from a job's options, from a file, or from both. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "model/abtest/abtest.h"

const char *const mr_abtest_methods[] = {"welch", "student", NULL};
const char *const mr_abtest_comparisons[] = {"holm", "bonferroni", "none", NULL};

static const char key[] = "millrace.abtest";

static mr_status no_memory(struct mr_err *err)
{
    return mr_fail(err, MR_ENOMEM, "model abtest: out of memory");
}

void mr_abtest_plan_deinit(struct mr_abtest_plan *plan)
{
    for (size_t i = 0; i < MR_AB_ARMS_MAX; i++) free(plan->name[i]);
    *plan = (struct mr_abtest_plan){0};
}

static mr_status name_set(struct mr_abtest_plan *plan, size_t i, const char *name, struct mr_err *err)
{
    char number[MR_NUMBER_BYTES];
    if (!name) number[mr_print_i64((long long)i, number)] = '\0';
    plan->name[i] = strdup(name ? name : number);
    return plan->name[i] ? MR_OK : no_memory(err);
}

/* "9:1": the shares of the arms, in their order. */
static mr_status ratio_read(struct mr_abtest_plan *plan, const char *text, struct mr_err *err)
{
    const char *at = text, *const end = text ? text + strlen(text) : NULL;
    for (size_t i = 0; i < plan->rule.arms; i++) {
        const char *const behind = text ? mr_parse_f64(at, end, &plan->share[i]) : NULL;
        const bool is_last = i + 1 == plan->rule.arms;
        if (!text) {
            plan->share[i] = 1;
        } else if (!behind || !(plan->share[i] > 0) || !isfinite(plan->share[i]) ||
                   (is_last ? behind != end : *behind != ':')) {
            return mr_fail(err, MR_ECONFIG,
                           "ratio: \"%s\": expected %zu shares above 0 with a colon between them, one for each arm: "
                           "\"1:1\", \"9:1\"",
                           text, plan->rule.arms);
        }
        at = behind + 1;
    }
    return MR_OK;
}

static mr_status arms_read(struct mr_abtest_plan *plan, const struct mr_abtest_options *options, struct mr_err *err)
{
    const size_t named = options->arms.count;
    if (named && options->arm_count >= 0 && (size_t)options->arm_count != named)
        return mr_fail(err, MR_ECONFIG, "arm_count: %lld, but arms names %zu: drop arm_count",
                       (long long)options->arm_count, named);
    plan->is_named = named > 0;
    plan->rule.arms = named ? named : options->arm_count >= 0 ? (size_t)options->arm_count : 2;
    if (plan->rule.arms < 2 || plan->rule.arms > MR_AB_ARMS_MAX)
        return mr_fail(err, MR_ECONFIG, "arms: %zu: a test has 2 to %d, the control first", plan->rule.arms,
                       MR_AB_ARMS_MAX);
    mr_status status = MR_OK;
    for (size_t i = 0; i < plan->rule.arms && !status; i++) {
        for (size_t k = 0; k < i && named; k++)
            if (!strcmp(options->arms.item[i], options->arms.item[k]))
                return mr_fail(err, MR_ECONFIG, "arms: \"%s\" is there twice", options->arms.item[i]);
        status = name_set(plan, i, named ? options->arms.item[i] : NULL, err);
    }
    return status;
}

static mr_status options_read(struct mr_abtest_plan *plan, const struct mr_abtest_options *options, struct mr_err *err)
{
    const size_t arms = plan->rule.arms;
    plan->rule = (struct mr_ab_rule){.arms = arms,
                                     .is_student = options->method != 0,
                                     .comparisons = (mr_ab_comparisons)options->comparisons,
                                     .alpha = options->alpha,
                                     .tightest_at = options->tightest_at};
    plan->window = (size_t)options->window;
    plan->peace_period = (size_t)options->peace_period;
    return ratio_read(plan, options->ratio, err);
}

/* ---- a file ---- */

static mr_status wrong(const struct mr_safetensors *file, const char *what, struct mr_err *err)
{
    return mr_fail(err, MR_EDATA, "model \"%s\": %s: \"%s\" is missing or not what it should be",
                   mr_safetensors_name(file), key, what);
}

static bool number_get(const cJSON *root, const char *name, double min, double max, double *value_out)
{
    const cJSON *const item = cJSON_GetObjectItemCaseSensitive(root, name);
    *value_out = cJSON_IsNumber(item) ? item->valuedouble : -1;
    return cJSON_IsNumber(item) && *value_out >= min && *value_out <= max;
}

static bool choice_get(const cJSON *root, const char *name, const char *const *choices, int *index_out)
{
    const char *const text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, name));
    for (*index_out = 0; text && choices[*index_out]; ++*index_out)
        if (!strcmp(text, choices[*index_out])) return true;
    return false;
}

static mr_status file_arms(struct mr_abtest_plan *plan, const struct mr_safetensors *file, const cJSON *root,
                           struct mr_err *err)
{
    const cJSON *const arms = cJSON_GetObjectItemCaseSensitive(root, "arms");
    const int count = cJSON_IsArray(arms) ? cJSON_GetArraySize(arms) : 0;
    if (count < 2 || count > MR_AB_ARMS_MAX) return wrong(file, "arms", err);
    plan->rule.arms = (size_t)count;
    plan->is_named = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "named"));
    plan->has_label = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "label"));
    for (int i = 0; i < count; i++) {
        const char *const name = cJSON_GetStringValue(cJSON_GetArrayItem(arms, i));
        if (!name || name_set(plan, (size_t)i, plan->is_named ? name : NULL, err)) return wrong(file, "arms", err);
    }
    return MR_OK;
}

static mr_status file_rule(struct mr_abtest_plan *plan, const struct mr_safetensors *file, const cJSON *root,
                           struct mr_err *err)
{
    const cJSON *const ratio = cJSON_GetObjectItemCaseSensitive(root, "ratio");
    double window, peace;
    int method, comparisons;
    if (!choice_get(root, "method", mr_abtest_methods, &method)) return wrong(file, "method", err);
    if (!choice_get(root, "comparisons", mr_abtest_comparisons, &comparisons)) return wrong(file, "comparisons", err);
    if (!number_get(root, "alpha", 1e-12, 0.5, &plan->rule.alpha)) return wrong(file, "alpha", err);
    if (!number_get(root, "tightest_at", 1, 1e15, &plan->rule.tightest_at)) return wrong(file, "tightest_at", err);
    if (!number_get(root, "window", 0, MR_ABTEST_WINDOW_MAX, &window)) return wrong(file, "window", err);
    if (!number_get(root, "peace_period", 0, 1e15, &peace)) return wrong(file, "peace_period", err);
    for (size_t i = 0; i < plan->rule.arms; i++) {
        const cJSON *const share = cJSON_GetArrayItem(ratio, (int)i);
        if (!cJSON_IsNumber(share) || !(share->valuedouble > 0)) return wrong(file, "ratio", err);
        plan->share[i] = share->valuedouble;
    }
    plan->rule.is_student = method != 0;
    plan->rule.comparisons = (mr_ab_comparisons)comparisons;
    plan->window = (size_t)window;
    plan->peace_period = (size_t)peace;
    return MR_OK;
}

/* Options that name arms must name those of the file. */
static mr_status arms_agree(const struct mr_abtest_plan *plan, const struct mr_abtest_options *options,
                            const struct mr_safetensors *file, struct mr_err *err)
{
    const size_t given = options->arms.count       ? options->arms.count
                         : options->arm_count >= 0 ? (size_t)options->arm_count
                                                   : plan->rule.arms;
    bool is_same = given == plan->rule.arms && (!options->arms.count || plan->is_named);
    for (size_t i = 0; i < options->arms.count && is_same; i++) is_same = !strcmp(options->arms.item[i], plan->name[i]);
    if (is_same) return MR_OK;
    return mr_fail(err, MR_ECONFIG,
                   "arms: model \"%s\" is of a test of %zu arms, %s \"%s\": a test with other arms starts from "
                   "nothing, without a file",
                   mr_safetensors_name(file), plan->rule.arms, plan->is_named ? "whose control is" : "as numbers from",
                   plan->name[0]);
}

mr_status mr_abtest_plan_make(struct mr_abtest_plan *plan, const struct mr_abtest_options *options,
                              const struct mr_safetensors *file, const struct mr_model_open *open, struct mr_err *err)
{
    const char *const text = file ? mr_safetensors_metadata(file, key) : NULL;
    cJSON *const root = text ? cJSON_Parse(text) : NULL;
    *plan = (struct mr_abtest_plan){0};
    mr_status status = MR_OK;
    if (file && !root) {
        status = wrong(file, "the whole of it", err);
    } else if (file) {
        status = file_arms(plan, file, root, err);
        if (!status && options) status = arms_agree(plan, options, file, err);
    } else {
        status = arms_read(plan, options, err);
        plan->has_label = open->feature_count == 1;
    }
    if (!status) status = options ? options_read(plan, options, err) : file_rule(plan, file, root, err);
    cJSON_Delete(root);
    return status;
}

char *mr_abtest_arms_print(const struct mr_abtest_plan *plan)
{
    cJSON *const arms = cJSON_CreateArray();
    bool is_done = arms != NULL;
    for (size_t i = 0; i < plan->rule.arms; i++)
        is_done &= cJSON_AddItemToArray(arms, cJSON_CreateString(plan->name[i])) != 0;
    char *const text = is_done ? cJSON_PrintUnformatted(arms) : NULL;
    cJSON_Delete(arms);
    return text;
}

char *mr_abtest_plan_print(const struct mr_abtest_plan *plan)
{
    cJSON *const root = cJSON_CreateObject();
    cJSON *const arms = cJSON_AddArrayToObject(root, "arms");
    for (size_t i = 0; i < plan->rule.arms; i++) cJSON_AddItemToArray(arms, cJSON_CreateString(plan->name[i]));
    cJSON_AddBoolToObject(root, "named", plan->is_named);
    cJSON_AddBoolToObject(root, "label", plan->has_label);
    cJSON *const ratio = cJSON_AddArrayToObject(root, "ratio");
    for (size_t i = 0; i < plan->rule.arms; i++) cJSON_AddItemToArray(ratio, cJSON_CreateNumber(plan->share[i]));
    cJSON_AddStringToObject(root, "method", mr_abtest_methods[plan->rule.is_student]);
    cJSON_AddStringToObject(root, "comparisons", mr_abtest_comparisons[plan->rule.comparisons]);
    cJSON_AddNumberToObject(root, "alpha", plan->rule.alpha);
    cJSON_AddNumberToObject(root, "tightest_at", plan->rule.tightest_at);
    cJSON_AddNumberToObject(root, "window", (double)plan->window);
    cJSON *const last = cJSON_AddNumberToObject(root, "peace_period", (double)plan->peace_period);
    char *const text = last ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    return text;
}
