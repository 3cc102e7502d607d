/**
 * Points in InfluxDB's line protocol, made of JSON objects:
 *
 *     measurement,tag=value field=1.5,count=3i,on=true,name="text" 1700000000000000000
 *
 * What the protocol cannot hold is left out and counted as skipped: null, numbers beyond float64, {} and [], a value of
 * `integers` that is not whole, a field called "time". Line breaks in names and texts become spaces, a backslash at the
 * end of a name or tag (it would escape what follows) is left out.
 */
#ifndef MR_SINK_INFLUX_LINE_H
#define MR_SINK_INFLUX_LINE_H

#include "sink/remote/remote.h"

typedef enum { MR_PRECISION_NS, MR_PRECISION_US, MR_PRECISION_MS, MR_PRECISION_S } mr_precision;
typedef enum { MR_SAME_TIME_SPREAD, MR_SAME_TIME_OVERWRITE } mr_same_time;

struct mr_line_options {
    char *measurement;
    struct mr_strings tags, fields, integers; /* names of leaves; of tags also @partition and @topic */
    char *timestamp;                          /* a leaf; NULL: the record's */
    int timestamp_unit;                       /* mr_precision */
    int precision;                            /* mr_precision */
    int same_time;                            /* mr_same_time */
};

struct mr_line; /* one thread */

/** options must outlive it; text_bytes: of the longest text in a record. MR_ENOMEM. */
mr_status mr_line_create(const struct mr_line_options *options, size_t text_bytes, struct mr_line **line_out,
                         struct mr_err *err);
void mr_line_destroy(struct mr_line *line); /* accepts NULL */

/** As mr_remote_protocol.add: a line for each object of the record. */
mr_status mr_line_add(struct mr_line *line, const struct mr_remote_record *record, struct mr_remote_text *text,
                      uint32_t *units_out, mr_reason *reason_out, char why[128]);

/** Fields that were skipped, and objects of joined records that had none, so far. */
uint64_t mr_line_skipped(const struct mr_line *line);
uint64_t mr_line_empty(const struct mr_line *line);

/** Whether the options make lines, without a network. MR_ECONFIG. */
mr_status mr_line_check(const struct mr_line_options *options, struct mr_err *err);

#endif
