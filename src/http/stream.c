#include "http/stream.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRAMES      64 /* that a viewer who comes back may still get */
#define CHUNK_BYTES 16384

/* An event as it goes out; freed with its last holder. */
struct frame {
    unsigned holders; /* under the stream's lock */
    uint64_t id;
    size_t bytes;
    char text[];
};

struct viewer {
    struct viewer *before, *next;
    struct mr_http_stream *stream;
    struct MHD_Connection *connection;
    struct frame *frame; /* that is being sent; NULL: none */
    size_t sent;
    uint64_t last_id;
    bool is_asleep, has_turn;
};

struct mr_http_stream {
    pthread_mutex_t lock;
    pthread_cond_t has_left;     /* the last viewer */
    struct frame *frame[FRAMES]; /* ring: that with number n at n % FRAMES */
    uint64_t id;                 /* of the newest; 0: there is none */
    struct viewer *first;
    struct viewer *turn; /* who is next; NULL: the first one */
    size_t viewers;
    bool is_over;
};

mr_status mr_http_stream_create(struct mr_http_stream **stream_out, struct mr_err *err)
{
    *stream_out = calloc(1, sizeof **stream_out);
    if (!*stream_out) return mr_fail(err, MR_ENOMEM, "out of memory");
    pthread_mutex_init(&(*stream_out)->lock, NULL);
    pthread_cond_init(&(*stream_out)->has_left, NULL);
    return MR_OK;
}

static void frame_drop(struct frame *frame)
{
    if (frame && !--frame->holders) free(frame);
}

void mr_http_stream_destroy(struct mr_http_stream *stream)
{
    if (!stream) return;
    for (size_t i = 0; i < FRAMES; i++) frame_drop(stream->frame[i]);
    pthread_cond_destroy(&stream->has_left);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

static struct frame *frame_make(uint64_t id, const char *event, const char *data, size_t bytes)
{
    struct frame *const frame = malloc(sizeof *frame + bytes + strlen(event) + 64);
    if (!frame) return NULL;
    const int head = sprintf(frame->text, "id: %llu\nevent: %s\ndata: ", (unsigned long long)id, event);
    memcpy(frame->text + head, data, bytes);
    memcpy(frame->text + head + bytes, "\n\n", 2);
    frame->bytes = (size_t)head + bytes + 2;
    frame->holders = 1;
    frame->id = id;
    return frame;
}

static void viewer_wake(struct viewer *viewer)
{
    viewer->has_turn = true;
    if (viewer->is_asleep) MHD_resume_connection(viewer->connection);
    viewer->is_asleep = false;
}

/* The next ones get what is newest now. */
static void turn_give(struct mr_http_stream *stream, size_t count)
{
    for (size_t i = 0; i < count && i < stream->viewers; i++) {
        if (!stream->turn) stream->turn = stream->first;
        viewer_wake(stream->turn);
        stream->turn = stream->turn->next;
    }
}

bool mr_http_stream_send(struct mr_http_stream *stream, const char *event, const char *data, size_t bytes)
{
    pthread_mutex_lock(&stream->lock);
    struct frame *const frame = frame_make(stream->id + 1, event, data, bytes);
    if (frame) {
        stream->id++;
        frame_drop(stream->frame[stream->id % FRAMES]);
        stream->frame[stream->id % FRAMES] = frame;
        turn_give(stream, MR_HTTP_TURN);
    }
    pthread_mutex_unlock(&stream->lock);
    return frame;
}

size_t mr_http_stream_viewers(struct mr_http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    const size_t count = stream->viewers;
    pthread_mutex_unlock(&stream->lock);
    return count;
}

void mr_http_stream_end(struct mr_http_stream *stream, const char *data, int wait_ms)
{
    struct timespec until;
    int reason = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += wait_ms % 1000 * 1000000L;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    mr_http_stream_send(stream, "end", data, strlen(data));
    pthread_mutex_lock(&stream->lock);
    stream->is_over = true;
    turn_give(stream, stream->viewers);
    while (stream->viewers && !reason) reason = pthread_cond_timedwait(&stream->has_left, &stream->lock, &until);
    pthread_mutex_unlock(&stream->lock);
}

/* What a viewer is to get now, held for it; NULL: nothing yet. One who has fallen behind gets the newest. */
static struct frame *frame_next(struct mr_http_stream *stream, struct viewer *viewer)
{
    if (!viewer->has_turn || viewer->last_id >= stream->id) return NULL;
    const bool is_near = stream->viewers <= MR_HTTP_TURN && stream->id - viewer->last_id < FRAMES;
    struct frame *const frame = stream->frame[(is_near ? viewer->last_id + 1 : stream->id) % FRAMES];
    viewer->last_id = frame->id;
    viewer->sent = 0;
    viewer->has_turn = frame->id < stream->id && is_near; /* one who is a little behind reads on */
    frame->holders++;
    return frame;
}

/* On the server's thread, when the viewer's connection takes bytes. */
static ssize_t viewer_read(void *context, uint64_t position, char *out, size_t room)
{
    struct viewer *const viewer = context;
    struct mr_http_stream *const stream = viewer->stream;
    ssize_t count = 0;
    (void)position;
    pthread_mutex_lock(&stream->lock);
    if (!viewer->frame) viewer->frame = frame_next(stream, viewer);
    if (viewer->frame) {
        const size_t left = viewer->frame->bytes - viewer->sent, taken = left < room ? left : room;
        memcpy(out, viewer->frame->text + viewer->sent, taken);
        viewer->sent += taken;
        count = (ssize_t)taken;
        if (taken == left) {
            frame_drop(viewer->frame);
            viewer->frame = NULL;
        }
    } else if (stream->is_over) {
        count = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        viewer->is_asleep = true;
        MHD_suspend_connection(viewer->connection);
    }
    pthread_mutex_unlock(&stream->lock);
    return count;
}

static void viewer_free(void *context)
{
    struct viewer *const viewer = context;
    struct mr_http_stream *const stream = viewer->stream;
    pthread_mutex_lock(&stream->lock);
    *(viewer->before ? &viewer->before->next : &stream->first) = viewer->next;
    if (viewer->next) viewer->next->before = viewer->before;
    if (stream->turn == viewer) stream->turn = viewer->next;
    if (!--stream->viewers) pthread_cond_signal(&stream->has_left);
    frame_drop(viewer->frame);
    pthread_mutex_unlock(&stream->lock);
    free(viewer);
}

struct MHD_Response *mr_http_stream_view(struct mr_http_stream *stream, struct MHD_Connection *connection,
                                         uint64_t last_id)
{
    struct viewer *const viewer = calloc(1, sizeof *viewer);
    if (!viewer) return NULL;
    pthread_mutex_lock(&stream->lock);
    *viewer = (struct viewer){.next = stream->first, .stream = stream, .connection = connection, .has_turn = true};
    const bool is_known = last_id && last_id <= stream->id && stream->id - last_id < FRAMES;
    viewer->last_id = is_known ? last_id : stream->id; /* the newest may be old: nobody was here */
    if (stream->first) stream->first->before = viewer;
    stream->first = viewer;
    stream->viewers++;
    pthread_mutex_unlock(&stream->lock);
    struct MHD_Response *const response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, CHUNK_BYTES, viewer_read, viewer, viewer_free);
    if (!response) viewer_free(viewer);
    return response;
}
