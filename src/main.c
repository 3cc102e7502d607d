/* The program: arguments to command. */
#include <stdio.h>

int main(void)
{
    puts("millrace " MR_VERSION);
    return 0;
}
