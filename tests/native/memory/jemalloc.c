// Known allocations by the entry points that jemalloc has beyond the C library's.
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

void *mallocx(size_t, int);
void *rallocx(void *, size_t, int);
size_t xallocx(void *, size_t, size_t, int);
size_t sallocx(const void *, int);
size_t nallocx(size_t, int);
void dallocx(void *, int);
void sdallocx(void *, size_t, int);
size_t malloc_usable_size(void *);
int mallctl(const char *, void *, size_t *, void *, size_t);

#define ZERO 0x40
#define ALIGN_256 8
#define CHECK(condition) \
    do { \
        if (!(condition)) _exit(9); \
    } while (0)

int main(void) {
    for (int i = 0; i < 23; i++) {
        char *block = mallocx(1000, ZERO);
        for (int byte = 0; byte < 1000; byte++) CHECK(block[byte] == 0);
        memset(block, 1, 1000);
        CHECK(sallocx(block, 0) == 1008 && malloc_usable_size(block) == 1008);
        CHECK(nallocx(1000, 0) == 1008 && xallocx(block, 2000, 0, 0) == 1008);
        block = rallocx(block, 2048, ZERO | ALIGN_256);
        CHECK((uintptr_t)block % 256 == 0 && block[999] == 1);
        for (int byte = 1008; byte < 2048; byte++) CHECK(block[byte] == 0);
        if (i % 2)
            sdallocx(block, 2048, 0);
        else
            dallocx(block, 0);
    }
    size_t allocated = 0, size = sizeof allocated;
    CHECK(mallctl("stats.allocated", &allocated, &size, NULL, 0) == 0);
    return 0;
}
