/* What the job has written: its topics opened, read as far as something is expected, and judged. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/options.h"
#include "config/followed.h"
#include "kafka/client.h"
#include "verify/inside.h"

#define CHUNK         4096 /* offsets read at once */
#define MARKER_WAIT_S 40   /* for transactions that are not decided: longer than one may last */

/* ---- opening ---- */
/* Whether outputs hold nothing that is of their record alone. */
static bool is_bare(const struct mr_verify *verify)
{
    return !verify->job->emit.key && !mr_verify_has_rest(verify->job) && mr_near_is_bare(verify->near);
}

static mr_verify_place place_of(const struct mr_verify *verify, const struct mr_verify_output *output)
{
    const struct mr_job *const job = verify->job;
    const struct mr_map *const properties =
        mr_option_value(job->source->options, job->source_options, "properties", MR_OPT_MAP);
    const bool is_known = !properties || !mr_kafka_property(properties, "partitioner");
    const mr_verify_place by_key = is_known ? MR_PLACE_KEY : MR_PLACE_ANY;
    if (output->is_dead || job->emit.partition == MR_PARTITION_KEY) return by_key;
    if (job->emit.partition == MR_PARTITION_STICKY) return MR_PLACE_ANY;
    if (job->emit.partition == MR_PARTITION_SAME) return MR_PLACE_SAME;
    for (size_t i = 0; i < verify->parts.topic_count; i++) {
        size_t count = 0;
        for (size_t p = 0; p < verify->parts.count; p++) count += verify->parts.part[p].topic == verify->parts.topic[i];
        if (count != output->parts.count) return by_key;
    }
    return MR_PLACE_SAME;
}

static void pair_note(void *context, const struct mr_match_pair *pair)
{
    mr_verify_scored_pair(context, pair);
}

static mr_status output_open(struct mr_verify *verify, struct mr_verify_output *output, const char *topic, bool is_dead,
                             struct mr_err *err)
{
    *output = (struct mr_verify_output){.verify = verify, .topic = topic, .is_dead = is_dead};
    mr_status status = mr_look_topic(&verify->look, topic, &output->parts, err);
    if (!status) status = mr_look_bounds(&verify->look, &output->parts, err);
    if (status) return status;
    output->place = place_of(verify, output);
    const struct mr_match_open open = {.source_count = (uint32_t)verify->parts.count,
                                       .partition_count = (int32_t)output->parts.count,
                                       .split = !is_dead && verify->near ? mr_near_split : NULL,
                                       .split_context = verify->near,
                                       .may_move = output->is_dead || verify->job->emit.partition != MR_PARTITION_SAME,
                                       .is_bare = verify->near && is_bare(verify),
                                       .fault = mr_verify_fault,
                                       .is_excused = mr_verify_is_excused,
                                       .paired = verify->scored && !is_dead ? pair_note : NULL,
                                       .context = output};
    status = mr_match_create(&open, &output->match, err);
    output->next = calloc(output->parts.count + 1, sizeof *output->next);
    output->list = calloc(verify->parts.count + 1, sizeof *output->list);
    if (!status && (!output->next || !output->list)) status = mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t p = 0; p < output->parts.count && !status; p++) {
        const struct mr_look_part *const part = &output->parts.part[p];
        bool leads = part->low > 0 || verify->outputs_from_ms >= 0;
        for (size_t i = 0; i < verify->parts.count; i++) {
            if (output->place != MR_PLACE_SAME || verify->input[i].partition == part->partition)
                leads |= verify->input[i].start > 0;
        }
        output->next[p] = part->low;
        if (verify->outputs_from_ms >= 0) {
            int64_t offset;
            status = mr_look_time(&verify->look, part, verify->outputs_from_ms, &offset, err);
            if (!status) output->next[p] = offset >= 0 ? offset : part->end;
        }
        if (leads && !status) mr_match_lead(output->match, (int32_t)p);
    }
    return status;
}

mr_status mr_verify_outputs_open(struct mr_verify *verify, struct mr_err *err)
{
    struct mr_job *const job = verify->job;
    mr_status status = MR_OK;
    verify->output = calloc(job->sink_count + 1, sizeof *verify->output);
    if (!verify->output) return mr_fail(err, MR_ENOMEM, "out of memory");
    if (!verify->scored && (!verify->log_count || mr_verify_units_differ(verify))) { /* no topic says what has scored */
        const struct mr_run *const run = verify->offline->run;
        status = mr_near_create(run->layout, &run->models, &verify->near, err);
    }
    for (size_t i = 0; i < job->sink_count && !status; i++) {
        char *const *const topic =
            mr_option_value(job->sink[i].ops->options, job->sink[i].options, "topic", MR_OPT_STRING);
        const struct mr_map *const own =
            mr_option_value(job->sink[i].ops->options, job->sink[i].options, "properties", MR_OPT_MAP);
        if (mr_job_sink_is_followed(job, i)) continue;
        if (strcmp(job->sink[i].ops->name, "kafka") != 0 || !topic)
            mr_proof_note(verify->proof, "sinks[%zu]: what went to \"%s\" can not be read again", i,
                          job->sink[i].ops->name);
        else if (own && own->count)
            mr_proof_note(verify->proof, "sinks[%zu]: topic \"%s\" is reached by properties of its own", i, *topic);
        else
            status = output_open(verify, &verify->output[verify->output_count++], *topic, false, err);
    }
    if (!status && job->bad_records.topic)
        status = output_open(verify, &verify->output[verify->output_count++], job->bad_records.topic, true, err);
    else if (!status && job->bad_records.file)
        mr_proof_note(verify->proof, "bad_records.file: dead letters in a file are counted, not compared");
    return status;
}

void mr_verify_outputs_close(struct mr_verify *verify)
{
    for (size_t i = 0; i < verify->output_count; i++) {
        struct mr_verify_output *const output = &verify->output[i];
        mr_match_destroy(output->match);
        for (size_t s = 0; output->list && s < verify->parts.count; s++) free(output->list[s].entry);
        free(output->list);
        free(output->early);
        mr_look_parts_deinit(&output->parts);
        free(output->next);
        free(output->special);
    }
    free(verify->output);
    mr_near_destroy(verify->near);
}

/* ---- what is there ---- */

static mr_status part_pump(struct mr_verify *verify, struct mr_verify_output *output, size_t p, bool is_all,
                           bool *has_read_out, struct mr_err *err)
{
    const struct mr_look_part *const part = &output->parts.part[p];
    mr_status status = MR_OK;
    while (!status && output->next[p] < part->end) {
        if (!is_all && (!mr_match_wanted(output->match, part->partition) ||
                        mr_match_waiting(output->match, part->partition) >= verify->window))
            break;
        const int64_t end = output->next[p] + CHUNK < part->end ? output->next[p] + CHUNK : part->end;
        status =
            mr_range_read(verify->writer, part->topic, part->partition, output->next[p], end, &verify->written, err);
        for (size_t i = 0; i < verify->written.count && !status; i++)
            status = mr_verify_message_take(output, &verify->written.message[i], err);
        mr_message_list_clear(&verify->written);
        output->next[p] = end;
        *has_read_out = true;
        mr_match_settle(output->match, false);
    }
    return status;
}

mr_status mr_verify_pump(struct mr_verify *verify, bool is_all, bool *has_read_out, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < verify->output_count; i++) {
        for (size_t p = 0; p < verify->output[i].parts.count && !status; p++)
            status = part_pump(verify, &verify->output[i], p, is_all, has_read_out, err);
    }
    return status;
}

bool mr_verify_settle(struct mr_verify *verify)
{
    bool has_tied = false;
    for (size_t i = 0; i < verify->output_count; i++) has_tied |= mr_match_settle(verify->output[i].match, true);
    return has_tied;
}

/* ---- the end ---- */

static bool is_any_wanted(const struct mr_verify *verify)
{
    for (size_t i = 0; i < verify->output_count; i++) {
        for (size_t s = 0; s < verify->parts.count; s++)
            if (mr_match_open_count(verify->output[i].match, (uint32_t)s)) return true;
    }
    return false;
}

/* Whether something is written that no transaction has decided yet. */
static mr_status undecided_look(struct mr_verify *verify, struct mr_look *all, bool *is_any_out, struct mr_err *err)
{
    mr_status status = MR_OK;
    *is_any_out = false;
    for (size_t i = 0; i < verify->output_count && !status; i++) {
        struct mr_look_parts *const parts = &verify->output[i].parts;
        status = mr_look_bounds(all, parts, err);
        for (size_t p = 0; p < parts->count && !status; p++)
            *is_any_out |= parts->part[p].end > verify->output[i].next[p];
        if (!status) status = mr_look_bounds(&verify->look, parts, err);
    }
    return status;
}

/* What is expected may be committed, and its marker not yet be written there. */
static mr_status markers_wait(struct mr_verify *verify, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    const int64_t deadline_ns = mr_clock_ns() + MARKER_WAIT_S * 1000000000LL;
    struct mr_look all = {0};
    bool is_undecided = true, has_read = false;
    mr_status status = mr_look_open(&all, verify->job, true, err);
    while (!status && is_undecided && is_any_wanted(verify) && mr_clock_ns() < deadline_ns) {
        status = undecided_look(verify, &all, &is_undecided, err);
        if (!status) status = mr_verify_pump(verify, true, &has_read, err);
        if (is_undecided && is_any_wanted(verify)) nanosleep(&pause, NULL);
    }
    mr_look_close(&all);
    return status;
}

/* Whether the job has committed more meanwhile. */
static mr_status running_look(struct mr_verify *verify, struct mr_err *err)
{
    int64_t *const before = calloc(verify->parts.count + 1, sizeof *before);
    if (!before) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < verify->parts.count; i++) before[i] = verify->parts.part[i].committed;
    const mr_status status = mr_look_committed(&verify->look, &verify->parts, err);
    for (size_t i = 0; i < verify->parts.count && !status; i++)
        verify->is_running |= verify->parts.part[i].committed != before[i];
    free(before);
    return status;
}

/* What is proved of a topic in which nothing is wrong. */
static void output_fact(struct mr_proof *proof, const struct mr_verify_output *output)
{
    const unsigned long long count = mr_match_count(output->match), near = mr_match_near_count(output->match),
                             far = mr_match_far_count(output->match);
    const bool has_order = !output->is_dead && output->place != MR_PLACE_ANY && !mr_match_is_ambiguous(output->match);
    char how[128];
    snprintf(how, sizeof how, "byte for byte%s",
             output->verify->scored && !output->is_dead ? " but for what models say" : "");
    if (near)
        snprintf(how, sizeof how,
                 "%llu byte for byte, of the others all but a model's numbers, these within 1e-6 of their terms",
                 count - near);
    mr_proof_fact(proof, "topic \"%s\": %llu %s, each once%s, %s%s", output->topic, count,
                  output->is_dead ? "dead letters" : "outputs", has_order ? ", in order" : "", how,
                  output->verify->job->emit.framing != MR_EMIT_SINGLE && !output->is_dead ? ", record by record" : "");
    if (mr_match_repeated_count(output->match))
        mr_proof_note(proof,
                      "topic \"%s\": %llu outputs of another unit have the bytes of others: they answer a record with "
                      "nearly the same numbers, or stand twice in the place of one that is lost (emit a field that "
                      "tells them apart)",
                      output->topic, (unsigned long long)mr_match_repeated_count(output->match));
    if (far)
        mr_proof_note(proof,
                      "topic \"%s\": numbers of %llu outputs: another unit has scored them, and they are off by more "
                      "than 1e-6 of their terms, not by more than learning or a kernel without a bound may make of it",
                      output->topic, far);
}

mr_status mr_verify_outputs_end(struct mr_verify *verify, struct mr_err *err)
{
    struct mr_proof *const proof = verify->proof;
    bool has_read;
    mr_status status = mr_verify_pump(verify, true, &has_read, err);
    mr_verify_settle(verify);
    if (!status && is_any_wanted(verify)) status = markers_wait(verify, err);
    if (!status) status = running_look(verify, err);
    if (status) return status;
    proof->in = verify->offline->count.in;
    proof->out = verify->offline->count.out;
    proof->dead = verify->offline->count.dead;
    proof->filtered = verify->offline->count.filtered;
    if (verify->is_running)
        mr_proof_note(proof, "the job went on meanwhile: what it wrote behind these offsets is not looked at");
    for (size_t i = 0; i < verify->output_count; i++) {
        struct mr_verify_output *const output = &verify->output[i];
        const uint64_t wrong = proof->total;
        if (verify->is_running) mr_match_trail(output->match);
        mr_match_end(output->match);
        if (output->is_dead) mr_verify_specials_tell(verify, output);
        const unsigned long long before = mr_match_before_count(output->match);
        if (mr_match_is_ambiguous(output->match) && !output->is_dead)
            mr_proof_note(proof,
                          "topic \"%s\": records are alike, so the order is not judged "
                          "(emit a field or emit.provenance that tells them apart)",
                          output->topic);
        if (before)
            mr_proof_note(proof, "topic \"%s\": %llu records are of before the range that was looked at", output->topic,
                          before);
        if (mr_match_moved_count(output->match))
            mr_proof_note(
                proof,
                "topic \"%s\": %llu %s stand in another partition than the topics' numbers of partitions give them "
                "today: these have changed while the job ran, or something else has put them there",
                output->topic, (unsigned long long)mr_match_moved_count(output->match),
                output->is_dead ? "dead letters" : "outputs");
        if (proof->total != wrong && verify->near && is_bare(verify) && !output->is_dead)
            mr_proof_note(proof,
                          "topic \"%s\": outputs that hold nothing of their records and that another unit has scored: "
                          "those that are nearly equal are taken for each other (emit a field that tells them apart)",
                          output->topic);
        if (proof->total != wrong) continue;
        output_fact(proof, output);
    }
    if (verify->job->emit.framing != MR_EMIT_SINGLE && verify->job->emit.provenance)
        mr_proof_note(proof, "headers of joined records are not compared");
    return MR_OK;
}
