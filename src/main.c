/* The program: arguments to command. */
#include "cli/command.h"

int main(int argc, char **argv)
{
    return mr_command_main(argc, argv);
}
