/* The program: arguments to command. */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>

#include "cli/command.h"

#define KEEP_BYTES (1 << 30)
#define MAP_BYTES  (32 << 20) /* the most that glibc takes */

/*
 * A closed standard stream would lend its number to the next file or socket, and a report would be written into that.
 * What takes its place fails when it is used: a result that goes nowhere is an error. stderr has nobody left to tell.
 */
static void streams_open(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR};
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) < 0) return;
    }
}

int main(int argc, char **argv)
{
    streams_open();
    signal(SIGXFSZ,
           SIG_IGN); /* a file at its size limit is the error of whoever writes it, who says so and cleans up */
#ifdef __GLIBC__
    /*
     * The client takes and frees fetch buffers of megabytes all the time. Left alone, the allocator gives each back to
     * the system, and the next one is paid for in page faults. Measured, 100 records a message: the client's threads
     * need 0.8 of the CPU with this.
     */
    mallopt(M_MMAP_THRESHOLD, MAP_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
    /*
     * A message with headers is ten small blocks, freed in the order in which they were taken. Joined again at once,
     * the next ones lie side by side; kept in lists, they are scattered ever more. Measured, one bad record in ten: the
     * lane needs 0.83 of the CPU, the dead letters' client 0.93.
     */
    mallopt(M_MXFAST, 0);
#endif
    return mr_command_main(argc, argv);
}
