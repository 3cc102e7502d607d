/**
 * Documents for the bulk interface of Elasticsearch and OpenSearch, made of JSON objects: an action line and the
 * document's line for each. The id is TOPIC-PARTITION-OFFSET of the record that the document answers, with "-ROW"
 * behind it for the second and later ones of a message, so that one that is sent again replaces itself.
 */
#ifndef MR_SINK_ELASTIC_BULK_H
#define MR_SINK_ELASTIC_BULK_H

#include "sink/remote/remote.h"

struct mr_bulk_options {
    const char *index;
    bool creates; /* "create" instead of "index": what data streams take */
};

/** As mr_remote_protocol.add. A document without "@timestamp" gets the record's, as text (RFC 3339, UTC). */
mr_status mr_bulk_add(const struct mr_bulk_options *options, const struct mr_remote_record *record,
                      struct mr_remote_text *text, uint32_t *units_out, mr_reason *reason_out, char why[128]);

/**
 * Judges the items of an answer (its JSON): delivered and refused ones are marked, those that are to be sent again
 * wait. outcome: GOOD, PART, or what keeps all of them from being written. False: the answer is not what a bulk request
 * gets.
 */
bool mr_bulk_judge(struct mr_remote *remote, struct mr_remote_item *items, size_t count, const char *answer,
                   size_t bytes, struct mr_remote_outcome *outcome);

#endif
