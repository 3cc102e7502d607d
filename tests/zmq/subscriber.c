/*
 * subscriber: a ZeroMQ SUB socket on stdout, a line each message: its frames with " | " between them, a tab as it is.
 *
 *   subscriber connect|bind ADDRESS PREFIX [COUNT]    ends after COUNT messages, or when its stdin does
 *
 * Says "ready" on stderr once it listens. A publisher learns of a subscription a moment later, and says nothing of it:
 * who needs to be sure publishes until something arrives.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

static void die(const char *what)
{
    fprintf(stderr, "subscriber: %s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(2);
}

/* All frames of one message; false: none is there. */
static int message_print(void *socket)
{
    int more = 1, frames = 0;
    size_t bytes = sizeof more;
    for (; more; frames++) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, socket, frames ? 0 : ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            if (zmq_errno() == EAGAIN && !frames) return 0;
            die("receiving");
        }
        if (frames) fputs(" | ", stdout);
        fwrite(zmq_msg_data(&frame), 1, zmq_msg_size(&frame), stdout);
        zmq_msg_close(&frame);
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &bytes)) die("asking for more");
    }
    putchar('\n');
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fputs("usage: subscriber connect|bind ADDRESS PREFIX [COUNT]\n", stderr);
        return 2;
    }
    const unsigned long wanted = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    void *const context = zmq_ctx_new();
    void *const socket = zmq_socket(context, ZMQ_SUB);
    const int all = 0;
    if (!socket || zmq_setsockopt(socket, ZMQ_RCVHWM, &all, sizeof all) ||
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, argv[3], strlen(argv[3])))
        die("making a socket");
    if (!strcmp(argv[1], "bind") ? zmq_bind(socket, argv[2]) : zmq_connect(socket, argv[2])) die(argv[2]);
    fputs("ready\n", stderr);
    for (unsigned long count = 0; !wanted || count < wanted;) {
        zmq_pollitem_t items[2] = {{.socket = socket, .events = ZMQ_POLLIN},
                                   {.fd = STDIN_FILENO, .events = ZMQ_POLLIN}};
        if (zmq_poll(items, 2, -1) < 0) die("waiting");
        while ((!wanted || count < wanted) && message_print(socket)) count++;
        fflush(stdout);
        char byte;
        if (items[1].revents && read(STDIN_FILENO, &byte, 1) <= 0) break;
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}
