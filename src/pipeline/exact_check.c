#include "pipeline/exact_check.h"

#include "base/log.h"
#include "base/options.h"
#include "kafka/broker_version.h"

mr_status mr_exact_check(const struct mr_run *run, struct mr_err *err)
{
    const struct mr_job *const job = run->job;
    if (job->delivery != MR_DELIVERY_EXACTLY_ONCE) return MR_OK;
    const bool *const is_allowed =
        mr_option_value(job->source->options, job->source_options, "allow_old_brokers", MR_OPT_BOOL);
    struct mr_broker_facts facts;
    const char *warning;
    mr_status status = mr_broker_facts_ask(run->properties, (int)(run->connect_timeout_us / 1000), &facts, err);
    if (!status) status = mr_broker_age_judge(mr_broker_age_of(&facts), is_allowed && *is_allowed, &warning, err);
    if (!status && warning) mr_log(MR_LOG_WARN, "kafka", "%s", warning);
    return status;
}
