#include "config/sections.h"

#include <string.h>

#define PLUG(ops, has_check)                                                                                           \
    (struct mr_plug)                                                                                                   \
    {                                                                                                                  \
        (ops)->name, (ops)->summary, (ops)->options, (ops)->options_size, has_check, (ops)                             \
    }

bool mr_plug_at(mr_plug_kind kind, size_t index, struct mr_plug *plug_out)
{
    /* Callers count from 0 and stop at the first false, so the NULL at a table's end is never passed. */
    switch (kind) {
    case MR_PLUG_SOURCE:
        if (mr_sources[index]) *plug_out = PLUG(mr_sources[index], mr_sources[index]->check);
        return mr_sources[index] != NULL;
    case MR_PLUG_CODEC:
        if (mr_codecs[index]) *plug_out = PLUG(mr_codecs[index], mr_codecs[index]->check);
        return mr_codecs[index] != NULL;
    case MR_PLUG_MODEL:
        if (mr_models[index]) *plug_out = PLUG(mr_models[index], NULL);
        return mr_models[index] != NULL;
    case MR_PLUG_SINK:
        if (mr_sinks[index]) *plug_out = PLUG(mr_sinks[index], mr_sinks[index]->check);
        return mr_sinks[index] != NULL;
    case MR_PLUG_BACKEND:
        if (mr_backends[index]) {
            *plug_out = (struct mr_plug){.name = mr_backends[index]->name, .summary = mr_backends[index]->summary};
        }
        return mr_backends[index] != NULL;
    case MR_PLUG_NONE:
        break;
    }
    return false;
}

bool mr_plug_find(mr_plug_kind kind, const char *name, struct mr_plug *plug_out)
{
    for (size_t i = 0; mr_plug_at(kind, i, plug_out); i++) {
        if (!strcmp(plug_out->name, name)) return true;
    }
    return false;
}

const char *mr_plug_kind_name(mr_plug_kind kind)
{
    static const char *const names[] = {"", "source", "format", "model", "sink", "backend"};
    return names[kind];
}

#define AT(field) offsetof(struct mr_selector, field)
static const struct mr_option source_selectors[] = {
    {.key = "type", .type = MR_OPT_STRING, .offset = AT(plug), .required = true, .doc = "Where messages come from."},
    {0},
};
static const struct mr_option record_selectors[] = {
    {.key = "format", .type = MR_OPT_STRING, .offset = AT(plug), .required = true, .doc = "How a record is written."},
    {0},
};
static const struct mr_option model_selectors[] = {
    {.key = "name",
     .type = MR_OPT_STRING,
     .offset = AT(name),
     .doc = "What emit.fields calls it; letters, digits, _ and -. Without it: the type."},
    {.key = "type",
     .type = MR_OPT_STRING,
     .offset = AT(plug),
     .doc =
         "What it computes. Without it: what the file says; a model that starts without a file has no other way to say "
         "it."},
    {.key = "file",
     .type = MR_OPT_STRING,
     .offset = AT(file),
     .is_path = true,
     .doc = "The model file, safetensors or ONNX; a relative path counts from the job file's folder. A model that "
            "learns may start without."},
    {.key = "input",
     .type = MR_OPT_STRING,
     .offset = AT(input),
     .doc = "Name of a model above this one whose outputs it reads, such as a scaler; without it: record.features."},
    {.key = "save",
     .type = MR_OPT_STRING,
     .offset = AT(save),
     .is_path = true,
     .doc = "File that a learning model is written to when the run ends; \"file\" reads it again."},
    {.key = "topic",
     .type = MR_OPT_STRING,
     .offset = AT(topic),
     .doc = "Compacted topic of the model's committed versions. A model that learns with delivery exactly-once writes "
            "its state there, in the transaction of its predictions, and goes on from it; one that does not learn "
            "takes each new version from it."},
    {0},
};
static const struct mr_option sink_selectors[] = {
    {.key = "type", .type = MR_OPT_STRING, .offset = AT(plug), .required = true, .doc = "Where predictions go."},
    {0},
};
#undef AT

/* The order is that of enum mr_framing and its like. */
static const char *const framings[] = {"single", "lines", "array", "packed", NULL};
static const char *const missing_policies[] = {"dead", "default", NULL};
static const char *const tombstone_policies[] = {"skip", "dead", NULL};
static const char *const emit_framings[] = {"single", "lines", "array", NULL};
static const char *const partitions[] = {"auto", "same", "key", "sticky", NULL};
static const char *const batch_bys[] = {"arrival", "offsets", NULL};
static const char *const deliveries[] = {"at-least-once", "at-most-once", "exactly-once", NULL};

#define AT(field) offsetof(struct mr_record_options, field)
static const struct mr_option record_rows[] = {
    {.key = "framing",
     .type = MR_OPT_ENUM,
     .offset = AT(framing),
     .fallback = "single",
     .choices = framings,
     .doc = "Records in a message: one; one a line; a JSON array of them; fixed-width rows one behind the other."},
    {.key = "features",
     .type = MR_OPT_STRINGS,
     .offset = AT(features),
     .required = true,
     .doc = "Fields that feed the model, in its order: paths such as a.b or x[3]; x[0..15] stands for 16 of them; "
            "@timestamp and "
            "other message parts.",
     .example = "[\"Temperature\"]"},
    {.key = "label",
     .type = MR_OPT_STRING,
     .offset = AT(label),
     .doc = "Field with the true answer, where records have one: the index of a class, or a number. Models learn from "
            "it, and "
            "the report says how well each model of the job predicted it."},
    {.key = "learn_topics",
     .type = MR_OPT_STRINGS,
     .offset = AT(learn_topics),
     .doc = "Topics of the source from whose records models learn, by name; records of its others are scored and "
            "judged alone, such as those of a test set. Without it: all of them.",
     .example = "[\"train\"]"},
    {.key = "missing",
     .type = MR_OPT_ENUM,
     .offset = AT(missing),
     .fallback = "dead",
     .choices = missing_policies,
     .doc = "What a missing or null feature does: make the record a dead letter, or take the value in defaults."},
    {.key = "defaults",
     .type = MR_OPT_MAP,
     .offset = AT(defaults),
     .doc = "Feature to number, for missing \"default\".",
     .example = "{\"Temperature\": 20}"},
    {.key = "depth_max",
     .type = MR_OPT_INT,
     .offset = AT(depth_max),
     .fallback = "32",
     .min = 1,
     .max = 1024,
     .doc = "Deepest nesting of objects and arrays; deeper records are dead letters."},
    {.key = "bytes_max",
     .type = MR_OPT_SIZE,
     .offset = AT(bytes_max),
     .fallback = "1MiB",
     .min = 1,
     .max = 1 << 30,
     .doc = "Largest record; larger ones are dead letters."},
    {.key = "tombstones",
     .type = MR_OPT_ENUM,
     .offset = AT(tombstones),
     .fallback = "skip",
     .choices = tombstone_policies,
     .doc = "What a message without a value does: count as filtered, or become a dead letter."},
    {0},
};
#undef AT

#define AT(field) offsetof(struct mr_labels_options, field)
static const struct mr_option labels_rows[] = {
    {.key = "topics",
     .type = MR_OPT_STRINGS,
     .offset = AT(topics),
     .required = true,
     .doc = "Topics with the answers, by name, on the source's cluster; written like the records (format, framing), "
            "read from source.start (the earliest where that names offsets). --until COUNT counts records alone.",
     .example = "[\"answers\"]"},
    {.key = "key",
     .type = MR_OPT_STRING,
     .offset = AT(key),
     .required = true,
     .doc = "What a record and its label have in common: a field, or @key; compared as text. One record a key within "
            "wait_max: a second record, or a second label, is refused and counted."},
    {.key = "record_key",
     .type = MR_OPT_STRING,
     .offset = AT(record_key),
     .doc = "The same in the records, where it stands elsewhere there."},
    {.key = "label",
     .type = MR_OPT_STRING,
     .offset = AT(label),
     .required = true,
     .doc = "Field of a label record with the answer: the index of a class, or a number."},
    {.key = "wait_max",
     .type = MR_OPT_DURATION,
     .offset = AT(wait_max),
     .fallback = "10m",
     .min = 1e3,
     .max = 30 * 86400e6,
     .doc = "How far the timestamps of a record and its label may be apart, whichever comes first. What waits is "
            "forgotten, and counted as expired, when the other topics have been read so far that nothing of its time "
            "can come."},
    {.key = "records_max",
     .type = MR_OPT_INT,
     .offset = AT(records_max),
     .fallback = "100000",
     .min = 1,
     .max = 1 << 28,
     .doc = "Records and labels that are kept at once, in memory only: features, key and predictions. When they are "
            "more, the oldest is pushed out and counted as evicted. Part of the job's memory."},
    {0},
};
#undef AT

#define AT(field) offsetof(struct mr_emit_options, field)
static const struct mr_option emit_rows[] = {
    {.key = "fields",
     .type = MR_OPT_MAP,
     .offset = AT(fields),
     .required = true,
     .doc = "Output key to what stands there: a model's .class, .label, .score, .probability or .probabilities, an "
            "input field, a message part such as @offset, or @label: what record.label names, wherever it stands.",
     .example = "{\"prediction\": \"regime.class\", \"Temperature\": \"Temperature\"}"},
    {.key = "framing",
     .type = MR_OPT_ENUM,
     .offset = AT(framing),
     .fallback = "single",
     .choices = emit_framings,
     .doc = "Predictions in an output message: one; one a line; a JSON array of them."},
    {.key = "records_max",
     .type = MR_OPT_INT,
     .offset = AT(records_max),
     .fallback = "100",
     .min = 1,
     .max = 100000,
     .doc = "Most predictions in one message, for lines and array."},
    {.key = "partition",
     .type = MR_OPT_ENUM,
     .offset = AT(partition),
     .fallback = "auto",
     .choices = partitions,
     .doc = "Output partition. same: that of the input, so that order is kept; needs at least as many. key: by hash of "
            "the key, or as sticky without one. sticky: one for each batch, which is cheapest. auto: same where both "
            "topics have as many partitions at start, else key."},
    {.key = "floats",
     .type = MR_OPT_STRING,
     .offset = AT(floats),
     .fallback = "shortest",
     .doc = "How numbers are printed: \"shortest\" that reads back the same, or \"fixed:N\" with N digits (0 to 9) "
            "behind the point."},
    {.key = "headers",
     .type = MR_OPT_STRINGS,
     .offset = AT(headers),
     .doc = "Input headers that are copied to the output."},
    {.key = "key",
     .type = MR_OPT_BOOL,
     .offset = AT(key),
     .fallback = "true",
     .doc = "Copy the input's key to the output."},
    {.key = "timestamp",
     .type = MR_OPT_BOOL,
     .offset = AT(timestamp),
     .fallback = "false",
     .doc = "Copy the input's timestamp to the output, else it is the time of writing."},
    {.key = "provenance",
     .type = MR_OPT_BOOL,
     .offset = AT(provenance),
     .fallback = "false",
     .doc = "Add headers millrace-model and millrace-source: which model, and which record."},
    {0},
};
#undef AT

#define AT(field) offsetof(struct mr_bad_records_options, field)
static const struct mr_option bad_records_rows[] = {
    {.key = "topic",
     .type = MR_OPT_STRING,
     .offset = AT(topic),
     .doc = "Dead-letter topic on the source's cluster: bytes unchanged, reason and place in headers."},
    {.key = "file",
     .type = MR_OPT_STRING,
     .offset = AT(file),
     .is_path = true,
     .doc = "Dead-letter file of JSON lines; a relative path counts from the job file's folder."},
    {.key = "drop",
     .type = MR_OPT_BOOL,
     .offset = AT(drop),
     .fallback = "false",
     .doc = "True: bad records are counted and logged, and their bytes are lost."},
    {.key = "share_max",
     .type = MR_OPT_DOUBLE,
     .offset = AT(share_max),
     .fallback = "0.5",
     .min = 0,
     .max = 1,
     .doc = "The job stops when more than this share of the last `window` records is bad, over all lanes; 1: never."},
    {.key = "window",
     .type = MR_OPT_INT,
     .offset = AT(window),
     .fallback = "10000",
     .min = 100,
     .max = 1e9,
     .doc = "Records that share_max looks back on."},
    {.key = "run_max",
     .type = MR_OPT_INT,
     .offset = AT(run_max),
     .fallback = "10000",
     .min = 1,
     .max = 1e9,
     .doc =
         "The job stops after so many bad records in a row, in a lane or in all together; up to one batch a lane comes "
         "later."},
    {0},
};
#undef AT

#define AT(field) offsetof(struct mr_batch_options, field)
static const struct mr_option batch_rows[] = {
    {.key = "records_max",
     .type = MR_OPT_INT,
     .offset = AT(records_max),
     .fallback = "8192",
     .min = 1,
     .max = 1 << 20,
     .doc = "Most records that are scored together."},
    {.key = "by",
     .type = MR_OPT_ENUM,
     .offset = AT(by),
     .fallback = "arrival",
     .choices = batch_bys,
     .doc = "What models learn from at once. arrival: each batch, as its size and time made it. offsets: blocks that "
            "end where offset + 1 is a multiple of records_max, or at records_max rows; scores still go out at once, "
            "by the model as of the last full block. Then a topic that is read from the same offset gives the same "
            "predictions and the same learned model, bit for bit on the same backend, however its records arrive and "
            "whatever wait_max is; not so across a restart in the middle. Needs an input of one partition. A job that "
            "does not learn is the same either way."},
    {.key = "wait_max",
     .type = MR_OPT_DURATION,
     .offset = AT(wait_max),
     .fallback = "300us",
     .min = 0,
     .max = 10e6,
     .doc = "How long a batch may wait to fill, counted from its first record: latency against CPU time. At 20,000 "
            "records/s the default has a median of 2.7 ms from producer to consumer; 5ms has 6.3 ms for a third less "
            "CPU. A "
            "backlog fills batches without waiting."},
    {0},
};
#undef AT

#define AT(field) offsetof(struct mr_http_options, field)
static const struct mr_option http_rows[] = {
    {.key = "listen",
     .type = MR_OPT_STRING,
     .offset = AT(listen),
     .required = true,
     .doc = "Address and port; port 0 takes one that is free. An address that other machines reach needs a token_file. "
            "Of a job with scorers, its trainer listens on the next port.",
     .example = "\"127.0.0.1:8420\""},
    {.key = "token_file",
     .type = MR_OPT_STRING,
     .offset = AT(token_file),
     .is_path = true,
     .doc = "File whose first line is the token that all but probes must carry: as \"Authorization: Bearer TOKEN\", or "
            "as the password that a browser asks for."},
    {.key = "hosts",
     .type = MR_OPT_STRINGS,
     .offset = AT(hosts),
     .doc =
         "Names by which the page is reached, beside addresses and localhost; others are refused, for a foreign page "
         "may have pointed them here.",
     .example = "[\"scorer.example.org\"]"},
    {.key = "viewers_max",
     .type = MR_OPT_INT,
     .offset = AT(viewers_max),
     .fallback = "1024",
     .min = 1,
     .max = 10000,
     .doc = "Pages that may be open at once; others are told to come back later."},
    {.key = "truth",
     .type = MR_OPT_MAP,
     .offset = AT(truth),
     .doc =
         "Values that are known to be true, which the page draws beside what is learned: coefficients by the name of "
         "their feature and \"intercept\", centres as \"centre[0].FEATURE\", means of arms as \"arm[0]\" (the control) "
         "or "
         "\"arm[NAME]\". The source rate knows its own.",
     .example = "{ \"x1\": 3.2, \"x2\": 0.6 }"},
    {0},
};
#undef AT

#define AT(field) offsetof(struct mr_state_options, field)
static const struct mr_option state_rows[] = {
    {.key = "file",
     .type = MR_OPT_STRING,
     .offset = AT(file),
     .is_path = true,
     .doc = "File that holds what models have learned together with the offsets up to which they have; a job that "
            "learns without transactions goes on from both."},
    {.key = "interval",
     .type = MR_OPT_DURATION,
     .offset = AT(interval),
     .fallback = "10s",
     .min = 1e3,
     .max = 86400e6,
     .doc = "Time between two writes of the file; a crash learns again from what came since."},
    {.key = "bytes_per_s",
     .type = MR_OPT_SIZE,
     .offset = AT(bytes_per_s),
     .fallback = "8MiB",
     .min = 1024,
     .max = 1ll << 40,
     .doc = "What whole models may write to their topics on average. A model of this size is written once a second, a "
            "smaller one more often, with each commit if it can; in between a commit says what was learned from, and "
            "a restart learns that again."},
    {0},
};
#undef AT

const struct mr_section mr_sections[] = {
    {.key = "source",
     .is_required = true,
     .kind = MR_PLUG_SOURCE,
     .selector = "type",
     .selectors = source_selectors,
     .doc = "Where messages come from.",
     .example = "{ \"type\": \"kafka\", \"topics\": [\"example_1\"],"
                " \"properties\": { \"bootstrap.servers\": \"localhost:9092\" } }"},
    {.key = "record",
     .is_required = true,
     .kind = MR_PLUG_CODEC,
     .selector = "format",
     .selectors = record_selectors,
     .rows = record_rows,
     .offset = offsetof(struct mr_job, record),
     .doc = "How a message is read: its format and the fields that count.",
     .example = "{ \"format\": \"json\", \"features\": [\"Temperature\"] }"},
    {.key = "labels",
     .rows = labels_rows,
     .offset = offsetof(struct mr_job, labels),
     .doc =
         "Answers that come on topics of their own, before or after their records. Predictions go out at once; models "
         "learn from a record when its label is there, and the report judges the prediction that went out. Not "
         "across restarts: what waits is in memory.",
     .example = "{ \"topics\": [\"answers\"], \"key\": \"id\", \"label\": \"y\", \"wait_max\": \"10m\" }"},
    {.key = "models",
     .is_required = true,
     .is_list = true,
     .kind = MR_PLUG_MODEL,
     .selector = "type",
     .selectors = model_selectors,
     .doc = "What scores the records.",
     .example = "[ { \"name\": \"regime\", \"type\": \"mlp\", \"file\": \"regime.safetensors\" } ]"},
    {.key = "emit",
     .is_required = true,
     .rows = emit_rows,
     .offset = offsetof(struct mr_job, emit),
     .doc = "What a prediction looks like.",
     .example = "{ \"fields\": { \"prediction\": \"regime.class\", \"Temperature\": \"Temperature\" } }"},
    {.key = "sinks",
     .is_required = true,
     .is_list = true,
     .kind = MR_PLUG_SINK,
     .selector = "type",
     .selectors = sink_selectors,
     .doc = "Where predictions go.",
     .example = "[ { \"type\": \"kafka\", \"topic\": \"example_2\" } ]"},
    {.key = "bad_records",
     .is_required = true,
     .rows = bad_records_rows,
     .offset = offsetof(struct mr_job, bad_records),
     .doc = "Where records go that cannot be scored: exactly one of topic, file and drop; and when there are too many.",
     .example = "{ \"topic\": \"example_1.dead\" }"},
    {.key = "batch",
     .rows = batch_rows,
     .offset = offsetof(struct mr_job, batch),
     .doc = "How records are put together.",
     .example = "{ \"records_max\": 32768, \"wait_max\": \"5ms\" }"},
    {.key = "state",
     .rows = state_rows,
     .offset = offsetof(struct mr_job, state),
     .doc = "Where what models learn is kept, and how often.",
     .example = "{ \"file\": \"plane.state\", \"interval\": \"10s\" }"},
    {.key = "http",
     .rows = http_rows,
     .offset = offsetof(struct mr_job, http),
     .doc =
         "The job's page for people, /metrics for Prometheus, /status, /events and /api/v1/ for programs, /livez and "
         "/readyz for orchestrators. Reading alone: nothing can be changed through it.",
     .example = "{ \"listen\": \"127.0.0.1:8420\" }"},
    {0},
};

#define AT(field) offsetof(struct mr_job, field)
const struct mr_option mr_job_options[] = {
    {.key = "job",
     .type = MR_OPT_STRING,
     .offset = AT(name),
     .doc =
         "Name of the job, in logs, metrics and client ids; letters, digits, . _ and -. Without it: the file's name.",
     .example = "\"temperature-regimes\""},
    {.key = "delivery",
     .type = MR_OPT_ENUM,
     .offset = AT(delivery),
     .fallback = "at-least-once",
     .choices = deliveries,
     .doc = "What is promised of each record. at-least-once: its offset is committed after its prediction is "
            "acknowledged. at-most-once: before anything is done with it. exactly-once: predictions, dead letters and "
            "offsets are one Kafka transaction; sinks outside Kafka are fed from the topic of the first Kafka sink."},
    {.key = "backend",
     .type = MR_OPT_STRING,
     .offset = AT(backend),
     .fallback = "auto",
     .doc =
         "Where models run: \"auto\" measures and chooses; \"cpu\", \"cpu:avx2\", \"cuda\", \"cuda:1\", \"opencl\" or "
         "\"opencl:0\" force one."},
    {.key = "cross_check",
     .type = MR_OPT_DOUBLE,
     .offset = AT(cross_check),
     .fallback = "0",
     .min = 0,
     .max = 1,
     .doc = "Share of the batches that the reference kernels score as well, to compare: 0.01 is one in a hundred. They "
            "are slow: a share costs more than its part."},
    {.key = "cross_check_tolerance",
     .type = MR_OPT_DOUBLE,
     .offset = AT(cross_check_tolerance),
     .fallback = "0.001",
     .min = 1e-6, /* float32 itself is off by 6e-8 an operation: less would leave a backend that computes rightly */
     .max = 1,
     .doc = "Largest difference from the reference, relative to an output's largest value in the batch; past it the "
            "backend is left for the next, and the log says so. float32 cannot keep less than 1e-6."},
    {.key = "lanes",
     .type = MR_OPT_INT,
     .offset = AT(lanes),
     .fallback = "0",
     .min = 0,
     .max = MR_LANES_MAX,
     .doc = "Threads that each poll, score and write; 0: one a core, no more than partitions or what memory holds."},
    {.key = "scorers",
     .type = MR_OPT_INT,
     .offset = AT(scorers),
     .fallback = "0",
     .min = 0,
     .max = MR_LANES_MAX,
     .doc = "Lanes that score in a process of their own, with what the models of the job learn in another, the "
            "trainer: `millrace run` starts both. The trainer learns and writes the models' topics (group "
            "<group>.trainer); the scorers take each version from there and write outputs and dead letters. Needs "
            "delivery exactly-once, and a topic for each model that learns. 0: one process does all."},
    {.key = "memory",
     .type = MR_OPT_SIZE,
     .offset = AT(memory),
     .fallback = "192MiB",
     .min = 16 << 20,
     .max = 1ll << 40,
     .doc = "Budget of the whole job: prefetched messages, batches and queues. With scorers it is for both processes, "
            "an equal share for each lane."},
    {.key = "commit_interval",
     .type = MR_OPT_DURATION,
     .offset = AT(commit_interval),
     .fallback = "1s",
     .min = 1e3,
     .max = 3600e6,
     .doc = "Time between two commits of offsets; the first after a pause is made at once. A crash repeats at most "
            "what was "
            "delivered in that time, and what was on its way."},
    {.key = "progress_interval",
     .type = MR_OPT_DURATION,
     .offset = AT(progress_interval),
     .fallback = "10s",
     .min = 100e3,
     .max = 3600e6,
     .doc = "Time between two lines of progress where stderr is no terminal."},
    {0},
};
#undef AT

const struct mr_section *mr_section_find(const char *key)
{
    for (const struct mr_section *section = mr_sections; section->key; section++) {
        if (!strcmp(section->key, key)) return section;
    }
    return NULL;
}

bool mr_is_planned(const char *where, const char *name)
{
    static const struct {
        const char *where, *names[12];
    } planned[] = {
        {"source", {"kafka", "dir", "file", "socket", "rate", "stdin"}},
        {"record", {"json", "csv", "f32", "avro"}},
        {"models", {"linear", "logistic", "mlp", "kmeans", "mf", "abtest", "scaler"}},
        {"sinks", {"kafka", "file", "console", "influx", "elastic", "zmq"}},
        {"backend", {"cpu", "cuda", "opencl"}},
        {"", {"metrics"}},
    };
    for (size_t i = 0; i < sizeof planned / sizeof *planned; i++) {
        for (size_t j = 0; !strcmp(planned[i].where, where) && planned[i].names[j]; j++) {
            if (!strcmp(planned[i].names[j], name)) return true;
        }
    }
    return false;
}
