// A library that is opened at run time, and allocates.
#include <stdlib.h>

void *make_block(void) {
    return malloc(1000);
}
