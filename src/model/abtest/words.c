/* What a test has found, in words. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "model/abtest/abtest.h"

/* Text that grows line by line; a line that does not fit is left out whole. */
struct words {
    char *text;
    size_t bytes, used;
};

static void __attribute__((format(printf, 2, 3))) say(struct words *words, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    const int more = vsnprintf(words->text + words->used, words->bytes - words->used, format, values);
    va_end(values);
    if (more < 0 || (size_t)more >= words->bytes - words->used)
        words->text[words->used] = '\0';
    else
        words->used += (size_t)more;
}

/* "5,210 : 4,790"-like counts or shares, without the commas: "5210:4790". */
static void counts_print(const struct mr_model *model, bool is_share, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < model->plan.rule.arms && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%.10g", i ? ":" : "",
                                 is_share ? model->plan.share[i] : model->all[i].count);
}

static const char *value_name(const struct mr_model *model)
{
    return model->plan.has_label ? "the label" : model->info.feature ? model->info.feature[1] : "the value";
}

static void arms_say(const struct mr_model *model, struct words *words)
{
    for (size_t i = 0; i < model->plan.rule.arms; i++) {
        const struct mr_arm *const arm = &model->recent[i];
        char spread[64] = "";
        if (arm->count >= 2) snprintf(spread, sizeof spread, ", deviation %.6g", sqrt(arm->squares / (arm->count - 1)));
        if (arm->count > 0)
            say(words, "arm %s: %.0f records, mean of %s %.6g%s\n", model->plan.name[i], arm->count, value_name(model),
                arm->mean, spread);
        else
            say(words, "arm %s: no records\n", model->plan.name[i]);
    }
}

static void comparison_say(const struct mr_model *model, size_t arm, struct words *words)
{
    const struct mr_ab_result *const r = &model->result[arm - 1];
    const char *const name = model->plan.name[arm], *const control = model->plan.name[0];
    char fixed[160] = "no fixed test yet", always[96] = "none yet", decided[128];
    const double percent = 100 * (1 - model->plan.rule.alpha);
    if (isnan(r->difference)) {
        say(words, "%s against %s: not both have records\n", name, control);
        return;
    }
    if (!isnan(r->p))
        snprintf(fixed, sizeof fixed, "%s %.4g to %.4g, t %.4g, df %.5g, p %.3g",
                 model->plan.rule.is_student ? "Student" : "Welch", r->low, r->high, r->statistic, r->df, r->p);
    if (!isnan(r->always_p))
        snprintf(always, sizeof always, "%.4g to %.4g, p %.3g", r->always_low, r->always_high, r->always_p);
    snprintf(decided, sizeof decided, r->decision ? "%.60s is %s" : "not decided", name,
             r->decision > 0 ? "higher" : "lower");
    say(words, "%s against %s: %+.6g; %g %% whenever one looks: %s (%s): %s\n", name, control, r->difference, percent,
        always, fixed, decided);
}

void mr_abtest_found(const struct mr_model *model, char *text, size_t bytes, double *values)
{
    struct words words = {.text = text, .bytes = bytes};
    char counts[256], shares[256];
    text[0] = '\0';
    for (size_t i = 1; i < model->plan.rule.arms; i++) comparison_say(model, i, &words);
    if (model->mismatch < MR_ABTEST_MISMATCH) {
        counts_print(model, false, counts, sizeof counts);
        counts_print(model, true, shares, sizeof shares);
        say(&words, "SAMPLE RATIO MISMATCH: %s instead of %s, p %.2g: do not trust the difference\n", counts, shares,
            model->mismatch);
    }
    arms_say(model, &words);
    if (model->held > 0)
        say(&words, "%.0f records of the first %zu batches are left out (peace_period)\n", model->held,
            model->plan.peace_period);
    if (model->unknown > 0)
        say(&words, "%.0f records without an arm of the test or a value do not count\n", model->unknown);
    if (values) mr_abtest_values(model, values);
}

void mr_abtest_mismatch_warn(struct mr_model *model)
{
    char counts[256], shares[256];
    const double last = model->mismatch_told > 0 ? pow(model->mismatch_told, 2) : MR_ABTEST_MISMATCH;
    if (!(model->mismatch < last)) return;
    model->mismatch_told = fmax(model->mismatch, 1e-300);
    counts_print(model, false, counts, sizeof counts);
    counts_print(model, true, shares, sizeof shares);
    mr_log(MR_LOG_WARN, "abtest",
           "sample ratio mismatch: %s records in the arms, the control \"%.60s\" first, instead of %s (p %.2g): what "
           "divides them does not do what it should, and no difference is to be trusted until that is found",
           counts, model->plan.name[0], shares, model->mismatch);
}
