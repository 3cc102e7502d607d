/*
 * The zmq sink: records as messages of a PUB socket, for whoever listens at the moment. Nothing comes back from there,
 * so a record counts as delivered when the socket has it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"
#include "registry.h"
#include "sink/pending.h"
#include "sink/zmq/hub.h"

struct mr_sink {
    const struct mr_zmq_options *options;
    struct mr_zmq_hub *hub;
    struct mr_pending pending;
    const char *model; /* MR_ZMQ_WEIGHTS: whose; the job's */
    char *frame;       /* likewise: the last one */
    size_t frame_cap;
    struct mr_err failure; /* of learned(), told by the next poll() */
};

static void zmq_sink_close(struct mr_sink *sink)
{
    if (!sink) return;
    mr_zmq_hub_release(sink->hub);
    free(sink->frame);
    free(sink);
}

/* Whose weights: the model that is named, or the first that has any. */
static mr_status model_choose(struct mr_sink *sink, const struct mr_sink_open *open, struct mr_err *err)
{
    const char *const wanted = sink->options->model;
    if (open->followed)
        return mr_fail(err, MR_ECONFIG,
                       "zmq sink: format \"weights\": with delivery \"exactly-once\" the sink is fed from the output "
                       "topic, where no weights are: use delivery \"at-least-once\", or format \"value\"");
    for (size_t i = 0; i < open->weights_count && !sink->model; i++)
        if (!wanted || !strcmp(open->weights_of[i], wanted)) sink->model = open->weights_of[i];
    if (sink->model) return MR_OK;
    return mr_fail(err, MR_ECONFIG,
                   "zmq sink: format \"weights\": %s%s%s: expected a linear or logistic model with \"learn\": true",
                   wanted ? "\"" : "", wanted ? wanted : "no model of the job",
                   wanted ? "\" is none that learns weights" : " learns weights");
}

static mr_status zmq_sink_open(const struct mr_sink_open *open, struct mr_sink **sink_out, struct mr_err *err)
{
    *sink_out = NULL;
    struct mr_sink *const sink = calloc(1, sizeof *sink);
    if (!sink) return mr_fail(err, MR_ENOMEM, "zmq sink: out of memory");
    sink->options = open->options;
    mr_status status = sink->options->format == MR_ZMQ_WEIGHTS ? model_choose(sink, open, err) : MR_OK;
    if (!status) status = mr_zmq_hub_acquire(sink->options, &sink->hub, err);
    if (status)
        zmq_sink_close(sink);
    else
        *sink_out = sink;
    return status;
}

static mr_status zmq_sink_emit(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out,
                               struct mr_err *err)
{
    mr_status status = MR_OK;
    *taken_out = 0;
    if (!mr_pending_has_room(&sink->pending, box)) return MR_AGAIN;
    if (sink->options->format == MR_ZMQ_VALUE) {
        mr_zmq_hub_lock(sink->hub);
        for (size_t i = from; i < box->count && !status; i++) {
            status = mr_zmq_hub_send(sink->hub, box->record[i].value,
                                     box->record[i].value ? box->record[i].value_bytes : 0, err);
            *taken_out += !status;
        }
        mr_zmq_hub_unlock(sink->hub);
    } else {
        *taken_out = box->count - from; /* what goes out is not in them */
    }
    mr_pending_took(&sink->pending, box, *taken_out);
    return status;
}

static mr_status zmq_sink_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    (void)wait_us; /* what emit() took is handed over: there is nothing to wait for */
    mr_pending_settle(&sink->pending);
    if (sink->failure.status && err) *err = sink->failure;
    return sink->failure.status;
}

/* "<ms> ms\t[w1,w2]": the time of the batch, a tab, the weights as JSON. */
static bool frame_make(struct mr_sink *sink, const struct mr_weights *weights, size_t *bytes_out)
{
    const size_t cap = 40 + weights->count * (MR_NUMBER_BYTES + 1);
    char *const grown = cap > sink->frame_cap ? realloc(sink->frame, cap) : sink->frame;
    if (!grown) return false;
    sink->frame = grown;
    if (cap > sink->frame_cap) sink->frame_cap = cap;
    char *out = sink->frame + sprintf(sink->frame, "%lld ms\t[", (long long)mr_clock_epoch_ms());
    for (size_t i = 0; i < weights->count; i++) {
        if (i) *out++ = ',';
        out += mr_print_f32(weights->value[i], out);
    }
    *out++ = ']';
    *bytes_out = (size_t)(out - sink->frame);
    return true;
}

static void zmq_sink_learned(struct mr_sink *sink, const struct mr_weights *weights)
{
    size_t bytes;
    if (!sink->model || strcmp(weights->model, sink->model) != 0 || sink->failure.status) return;
    if (!frame_make(sink, weights, &bytes)) {
        mr_fail(&sink->failure, MR_ENOMEM, "zmq sink: no memory for %zu weights", weights->count);
        return;
    }
    mr_zmq_hub_lock(sink->hub);
    mr_zmq_hub_send(sink->hub, sink->frame, bytes, &sink->failure);
    mr_zmq_hub_unlock(sink->hub);
}

static mr_status zmq_sink_check(const void *given, struct mr_err *err)
{
    const struct mr_zmq_options *const options = given;
    const bool binds = options->bind && *options->bind;
    if (binds == (options->connect.count > 0))
        return mr_fail(
            err, MR_ECONFIG,
            "zmq sink: expected bind, an address that subscribers connect to, or connect, addresses at which "
            "subscribers are bound: one of the two");
    if (options->required)
        return mr_fail(err, MR_ECONFIG,
                       "zmq sink: required: it cannot be: a PUB socket acknowledges nothing, so there is nothing that "
                       "offsets could wait for: drop it, and write to a topic or file as well what must not be lost");
    if (options->conflate && options->topic)
        return mr_fail(
            err, MR_ECONFIG,
            "zmq sink: conflate: keeps messages of one frame only, and topic makes them two: drop one of them");
    if (options->model && options->format != MR_ZMQ_WEIGHTS)
        return mr_fail(err, MR_ECONFIG, "zmq sink: model: does nothing without format \"weights\"");
    return MR_OK;
}

static const char *const formats[] = {"value", "weights", NULL};

#define AT(field) offsetof(struct mr_zmq_options, field)
static const struct mr_option zmq_option_table[] = {
    {.key = "bind",
     .type = MR_OPT_STRING,
     .offset = AT(bind),
     .doc =
         "Address that subscribers connect to. All lanes of the job share it. Whoever reaches it can read: nothing is "
         "asked of subscribers, nothing encrypted.",
     .example = "\"tcp://127.0.0.1:5555\""},
    {.key = "connect",
     .type = MR_OPT_STRINGS,
     .offset = AT(connect),
     .doc = "Instead: addresses at which subscribers are bound, such as a broker between both sides. It may come later "
            "and go again."},
    {.key = "format",
     .type = MR_OPT_ENUM,
     .offset = AT(format),
     .fallback = "value",
     .choices = formats,
     .doc = "value: each record's value as it is, a message each. weights: after each batch that a linear or logistic "
            "model has learned from \"<ms> ms<TAB>[w1,w2]\", milliseconds since 1970 and its weights without the "
            "intercept, and no records."},
    {.key = "model",
     .type = MR_OPT_STRING,
     .offset = AT(model),
     .doc = "With format weights: whose; otherwise those of the first model that learns some."},
    {.key = "topic",
     .type = MR_OPT_STRING,
     .offset = AT(topic),
     .doc =
         "A first frame of each message, by whose first bytes subscribers choose; otherwise messages have one frame."},
    {.key = "send_hwm",
     .type = MR_OPT_INT,
     .offset = AT(send_hwm),
     .fallback = "100000",
     .min = 1,
     .max = 100000000,
     .doc = "Messages that may wait for one subscriber, more than a batch brings at once; what comes then is dropped "
            "for it, "
            "counted and told. The job is "
            "never held up: who must have all reads a topic."},
    {.key = "conflate",
     .type = MR_OPT_BOOL,
     .offset = AT(conflate),
     .doc = "Keep the newest message for a subscriber alone: for those who want to know how things are now."},
    {.key = "linger",
     .type = MR_OPT_DURATION,
     .offset = AT(linger),
     .fallback = "1s",
     .max = 5e6,
     .doc = "At the end, how long subscribers have to take what is waiting for them."},
    {.key = "required",
     .type = MR_OPT_BOOL,
     .offset = AT(required),
     .doc = "Cannot be: a PUB socket acknowledges nothing. A record counts as delivered when the socket has it."},
    {0},
};
#undef AT

const struct mr_sink_ops mr_sink_zmq = {
    .name = "zmq",
    .summary = "messages of a ZeroMQ PUB socket, for whoever listens; nothing is acknowledged",
    .options = zmq_option_table,
    .options_size = sizeof(struct mr_zmq_options),
    .check = zmq_sink_check,
    .open = zmq_sink_open,
    .emit = zmq_sink_emit,
    .poll = zmq_sink_poll,
    .learned = zmq_sink_learned,
    .close = zmq_sink_close,
};
