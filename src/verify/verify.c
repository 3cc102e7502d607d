#include "verify/verify.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/roles.h"
#include "scoring/follow.h"
#include "source/kafka/options.h"
#include "verify/inside.h"
#include "verify/past.h"

#define WINDOW      65536
#define CHUNK_MAX   8192                /* offsets of an input read at once, */
#define CHUNK_BYTES (8.0 * 1024 * 1024) /* and about so many bytes */
#define CHUNK_FIRST 256
#define ROWS_MAX    (1 << 20) /* of an update: no job can have more */

uint32_t mr_verify_input_find(const struct mr_verify *verify, const char *topic, int32_t partition)
{
    for (uint32_t i = 0; i < verify->parts.topic_count; i++)
        if (!strcmp(verify->parts.topic[i], topic)) return mr_part_get(&verify->index, i, partition);
    return MR_PART_NONE;
}

/* ---- where the inputs begin and end ---- */

static mr_status start_find(struct mr_verify *verify, const struct mr_kafka_start *start, size_t i, struct mr_err *err)
{
    struct mr_verify_input *const input = &verify->input[i];
    const struct mr_look_part *const part = &verify->parts.part[i];
    mr_status status = MR_OK;
    int64_t offset = -1;
    if (start->kind == MR_START_TIME) {
        status = mr_look_time(&verify->look, part, start->time_ms, &offset, err);
        if (offset < 0) offset = part->end;
    } else if (start->kind == MR_START_OFFSETS) {
        offset = mr_kafka_start_offset(start, part->topic, part->partition);
    }
    input->start = offset >= 0 ? offset : part->low;
    input->end = part->committed >= 0 ? part->committed : input->start;
    if (input->end < input->start) input->end = input->start;
    return status;
}

/* Of a job without a state: from where it began to what its group has committed. */
static mr_status range_find(struct mr_verify *verify, const char *from, struct mr_err *err)
{
    const struct mr_kafka_source_options *const opt = verify->job->source_options;
    struct mr_kafka_start start;
    mr_status status = mr_kafka_start_parse(from ? from : opt->start, &start, err);
    if (status)
        return from ? mr_fail(err, MR_EUSAGE, "--from \"%s\": expected earliest, a time or offsets", from) : status;
    if (start.kind == MR_START_LATEST)
        return mr_fail(err, MR_EUSAGE,
                       "the job began at the latest records of its time, and no topic tells which these were: name "
                       "them with --from TOPIC/0=OFFSET,...");
    for (size_t i = 0; i < verify->parts.count && !status; i++) status = start_find(verify, &start, i, err);
    return status;
}

/* What is no longer there can not be looked at. */
static void lost_tell(struct mr_verify *verify, bool is_earliest)
{
    for (size_t i = 0; i < verify->parts.count; i++) {
        const struct mr_look_part *const part = &verify->parts.part[i];
        struct mr_verify_input *const input = &verify->input[i];
        if (input->end <= input->start && !(is_earliest && part->low > 0 && part->committed >= 0)) continue;
        if (part->low <= (is_earliest ? 0 : input->start)) continue;
        verify->proof->missing = MR_EINPUT;
        mr_proof_note(verify->proof,
                      "%s[%d]: records before offset %lld are no longer in the topic: what became of them is not "
                      "known%s",
                      part->topic, (int)part->partition, (long long)part->low,
                      is_earliest ? " (if the job began there, say --from earliest)" : "");
        if (input->start < part->low) input->start = part->low, input->byte = 0;
        if (input->end < input->start) input->end = input->start;
    }
}

/* ---- a job whose models stand still ---- */

/* Works a chunk of one input. */
static mr_status chunk_work(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, struct mr_err *err)
{
    struct mr_offline *const offline = verify->offline;
    struct mr_message_list *const list = &verify->read;
    struct mr_cursor cursor = {0};
    mr_status status = mr_range_read(verify->reader, input->name, input->partition, input->next, end, list, err);
    for (size_t i = 0; i < list->count; i++) list->message[i].topic = input->topic;
    while (!status && cursor.message < list->count) {
        mr_offline_clear(offline);
        status = mr_offline_decode(offline, list->message, &cursor, list->count, err);
        if (!status) status = mr_offline_parts(offline, list->message, err);
        if (!status) status = mr_offline_score(offline, err);
        if (!status) status = mr_offline_encode(offline, list->message, err);
    }
    verify->proof->messages += list->count;
    mr_message_list_clear(list);
    input->next = end;
    return status;
}

static size_t open_most(const struct mr_verify *verify, uint32_t source)
{
    size_t most = 0;
    for (size_t i = 0; i < verify->output_count; i++) {
        const size_t count = mr_match_open_count(verify->output[i].match, source);
        if (count > most) most = count;
    }
    return most;
}

/* All inputs side by side, a chunk each, and what was written for them. */
static mr_status scored_work(struct mr_verify *verify, struct mr_err *err)
{
    bool is_left = true, has_worked = true;
    mr_status status = MR_OK;
    int64_t chunk = CHUNK_FIRST, offsets = 0;
    while (is_left && !status) {
        is_left = has_worked = false;
        for (size_t i = 0; i < verify->parts.count && !status; i++) {
            struct mr_verify_input *const input = &verify->input[i];
            if (input->next >= input->end) continue;
            is_left = true;
            if (open_most(verify, (uint32_t)i) >= verify->window) continue;
            const int64_t end = input->next + chunk < input->end ? input->next + chunk : input->end;
            offsets += end - input->next;
            status = chunk_work(verify, input, end, err);
            has_worked = true;
        }
        if (!status) status = mr_verify_pump(verify, false, &has_worked, err);
        if (!has_worked) has_worked = mr_verify_settle(verify);
        if (!has_worked) verify->window *= 2; /* inputs were answered far apart */
        if (offsets >= CHUNK_FIRST) chunk = CHUNK_MAX;
    }
    return status;
}

/* ---- all of it ---- */

static mr_status inputs_open(struct mr_verify *verify, struct mr_err *err)
{
    mr_status status = mr_look_inputs(&verify->look, verify->job, &verify->parts, err);
    if (!status) status = mr_look_bounds(&verify->look, &verify->parts, err);
    if (!status) status = mr_look_committed(&verify->look, &verify->parts, err);
    if (status) return status;
    verify->input = calloc(verify->parts.count + 1, sizeof *verify->input);
    if (!verify->input) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < verify->parts.count; i++) {
        const struct mr_look_part *const part = &verify->parts.part[i];
        uint32_t topic = 0;
        while (verify->parts.topic[topic] != part->topic) topic++;
        verify->input[i] = (struct mr_verify_input){.topic = topic, .partition = part->partition, .name = part->topic};
        if (!mr_part_set(&verify->index, topic, part->partition, (uint32_t)i))
            return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    return MR_OK;
}

static mr_status job_check(const struct mr_job *job, struct mr_err *err)
{
    bool learns = false, follows = false;
    for (size_t i = 0; i < job->model_count; i++) {
        learns |= mr_job_model_learns(&job->model[i]);
        follows |= mr_job_model_follows(&job->model[i]);
    }
    if (learns && follows)
        return mr_fail(err, MR_ECONFIG,
                       "models: one learns, and another follows what is learned elsewhere: which version it learned "
                       "with is not in the topics");
    if (job->labels.topics.count)
        return mr_fail(err, MR_ECONFIG,
                       "labels: what is learned from labels of other topics depends on when they came, and can not "
                       "be done again");
    return MR_OK;
}

/* The inputs' ranges, and what stands in the way of more. */
static mr_status ranges_open(struct mr_verify *verify, const struct mr_verify_options *options, struct mr_err *err)
{
    const struct mr_kafka_source_options *const opt = verify->job->source_options;
    const bool is_earliest = !options->from && !strcmp(opt->start, "earliest");
    mr_status status = range_find(verify, options->from, err);
    if (!status && verify->log_count) status = mr_verify_state_bounds(verify, err);
    if (!status) lost_tell(verify, is_earliest && !verify->log_count);
    for (size_t i = 0; i < verify->parts.count; i++) verify->input[i].next = verify->input[i].start;
    return status;
}

static mr_status offline_open(struct mr_verify *verify, struct mr_err *err)
{
    const struct mr_offline_to to = {verify, mr_verify_expect_output, mr_verify_expect_dead};
    return mr_offline_create(verify->job, verify->parts.topic, verify->parts.topic_count, &to, &verify->offline, err);
}

/* What was learned from at once must fit, though batches may be smaller now. */
static mr_status offline_widen(struct mr_verify *verify, struct mr_err *err)
{
    const size_t rows = mr_verify_state_rows(verify);
    verify->block_rows = (size_t)verify->job->batch.records_max;
    if (rows <= verify->block_rows || rows > ROWS_MAX) return MR_OK;
    verify->job->batch.records_max = (int64_t)rows;
    mr_offline_destroy(verify->offline);
    verify->offline = NULL;
    return offline_open(verify, err);
}

static mr_status work(struct mr_verify *verify, const struct mr_verify_options *options, struct mr_err *err)
{
    struct mr_job *const job = verify->job;
    const struct mr_map *const properties = &((const struct mr_kafka_source_options *)job->source_options)->properties;
    mr_status status = inputs_open(verify, err);
    if (!status) status = offline_open(verify, err);
    for (size_t i = 0; i < job->model_count && !status && !verify->scored; i++) {
        if (mr_job_model_follows(&job->model[i])) status = mr_verify_scored_create(verify, &verify->scored, err);
    }
    if (!status) status = mr_verify_state_read(verify, err);
    if (!status) status = offline_widen(verify, err);
    if (!status) status = ranges_open(verify, options, err);
    if (!status) status = mr_range_reader_create(properties, &verify->reader, err);
    if (!status) status = mr_range_reader_create(properties, &verify->writer, err);
    if (!status) status = mr_verify_outputs_open(verify, err);
    if (!status) status = verify->log_count ? mr_verify_learned(verify, err) : scored_work(verify, err);
    if (!status) status = mr_verify_outputs_end(verify, err);
    return status ? status : mr_verify_followed(verify, err);
}

static void verify_close(struct mr_verify *verify)
{
    mr_message_list_deinit(&verify->read);
    mr_message_list_deinit(&verify->written);
    mr_range_reader_destroy(verify->reader);
    mr_range_reader_destroy(verify->writer);
    mr_verify_outputs_close(verify);
    mr_verify_scored_destroy(verify->scored);
    mr_verify_state_close(verify);
    mr_offline_destroy(verify->offline);
    mr_part_free(&verify->index);
    mr_look_parts_deinit(&verify->parts);
    mr_look_close(&verify->look);
    free(verify->input);
}

/* One process's part; to be closed, whatever comes out. */
static mr_status verify_run(struct mr_verify *verify, const struct mr_verify_options *options, struct mr_err *err)
{
    mr_status status = job_check(verify->job, err);
    if (!status) status = mr_look_open(&verify->look, verify->job, false, err);
    if (!status) status = work(verify, options, err);
    if (status == MR_END) status = MR_OK; /* what was found says why it went no further */
    if (status) mr_proof_note(verify->proof, "all that was not reached: %s", err->text);
    return status;
}

mr_status mr_verify(struct mr_job *job, const struct mr_verify_options *options, struct mr_proof *proof,
                    struct mr_err *err)
{
    const int64_t started_ns = mr_clock_ns();
    struct mr_verify verify = {.job = job, .proof = proof, .window = WINDOW, .outputs_from_ms = -1};
    const mr_status status = verify_run(&verify, options, err);
    if (verify.scored)
        mr_proof_note(proof,
                      "predictions: another job learns what makes them (one job file for both would prove them)");
    proof->stopped = status;
    verify_close(&verify);
    proof->seconds = (double)(mr_clock_ns() - started_ns) / 1e9;
    return status;
}

/* Whether there is something that scorers could have scored with. */
static mr_status versions_look(const struct mr_job *trainer, bool *is_any_out, struct mr_err *err)
{
    mr_status status = MR_OK;
    *is_any_out = true;
    for (size_t i = 0; i < trainer->model_count && !status; i++) {
        struct mr_state_log *log;
        if (!mr_job_model_learns(&trainer->model[i]) || trainer->model[i].file) continue;
        status = mr_past_list(trainer, i, &log, err);
        if (status) break;
        const struct mr_state_commit *const last = mr_state_log_last(log);
        *is_any_out &= last && last->version_after;
        mr_state_log_destroy(log);
    }
    return status;
}

mr_status mr_verify_roles(struct mr_job *trainer_job, struct mr_job *scorers_job,
                          const struct mr_verify_options *options, struct mr_proof *proof, struct mr_err *err)
{
    const int64_t started_ns = mr_clock_ns();
    struct mr_verify scorers = {.job = scorers_job, .proof = proof, .window = WINDOW, .outputs_from_ms = -1};
    struct mr_verify trainer = {.job = trainer_job, .proof = proof, .window = WINDOW, .outputs_from_ms = -1};
    bool is_any;
    mr_status status = versions_look(trainer_job, &is_any, err);
    if (!status && is_any) status = verify_run(&scorers, options, err);
    if (!status && !is_any) mr_proof_note(proof, "outputs: no version was learned yet, so the scorers wait");
    const uint64_t messages = proof->messages, in = proof->in, out = proof->out, dead = proof->dead;
    const uint64_t filtered = proof->filtered;
    if (scorers.scored && !status) trainer.scorers = &scorers;
    if (!status) status = verify_run(&trainer, options, err);
    if (trainer.scorers) mr_verify_scored_end(scorers.scored, proof);
    proof->messages = messages; /* what went out is the scorers'; the trainer's counts are its state's */
    proof->in = in, proof->out = out, proof->dead = dead, proof->filtered = filtered;
    proof->stopped = status;
    verify_close(&trainer);
    verify_close(&scorers);
    proof->seconds = (double)(mr_clock_ns() - started_ns) / 1e9;
    return status;
}
