/* Attacks inside the process: data that becomes code, code that is changed, a confused heap. */
#include "victim.h"
#include <stdint.h>
#include <sys/mman.h>

static const unsigned char answer_code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov eax, 42; ret */
static const volatile char sealed[16] = "as it was built";

static int call(void *code, char *proof)
{
    int (*function)(void);
    memcpy(&function, &code, sizeof function);
    snprintf(proof, PROOF, "new code says %d", function());
    return 0;
}

static int write_and_execute(const char *unused, char *proof)
{
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    void *page = mmap(NULL, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)unused;
    if (page == MAP_FAILED)
        return -1;
    memcpy(page, answer_code, sizeof answer_code);
    return call(page, proof);
}

static int write_then_execute(const char *unused, char *proof)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)unused;
    if (page == MAP_FAILED)
        return -1;
    memcpy(page, answer_code, sizeof answer_code);
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC))
        return -1;
    return call(page, proof);
}

static int execute_written_file(const char *folder, char *proof)
{
    char path[PROOF];
    snprintf(path, sizeof path, "%s/code", folder);
    if (put_file(path, O_WRONLY | O_CREAT, answer_code, sizeof answer_code, 0644))
        return -1;
    int fd = open(path, O_RDONLY);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    return fd < 0 || page == MAP_FAILED ? -1 : call(page, proof);
}

/* The kernel writes there even where the page may not be written (proc(5), /proc/pid/mem). */
static int write_own_code(const char *unused, char *proof)
{
    int fd = open("/proc/self/mem", O_RDWR);
    (void)unused;
    if (fd < 0 || pwrite(fd, MARK, sizeof MARK, (off_t)(uintptr_t)sealed) != sizeof MARK)
        return -1;
    for (size_t i = 0; i < sizeof sealed; i++)
        proof[i] = sealed[i];
    return 0;
}

/* Past the one check that glibc makes: other blocks are freed first, and one in between. */
static int free_twice(const char *unused, char *proof)
{
    enum { FIRST = 7, SIZE = 40 };
    void *volatile blocks[FIRST], *volatile a, *volatile b, *volatile again[FIRST + 3];
    (void)unused;
    for (int i = 0; i < FIRST; i++)
        blocks[i] = malloc(SIZE);
    a = malloc(SIZE);
    b = malloc(SIZE);
    for (int i = 0; i < FIRST; i++)
        free(blocks[i]);
    free(a);
    free(b);
    free(a);
    for (int i = 0; i < FIRST + 3; i++) {
        again[i] = malloc(SIZE);
        for (int j = 0; j < i; j++)
            if (again[i] == again[j])
                snprintf(proof, PROOF, "one block has two owners");
    }
    return 0;
}

/* A block that malloc never gave out, made to look like one of its own. */
static int free_foreign(const char *unused, char *proof)
{
    static _Alignas(16) size_t forged[16] = {0, 0x41};
    char *volatile pointer = (char *)&forged[2], *volatile got;
    (void)unused;
    free(pointer);
    got = malloc(0x38);
    snprintf(proof, PROOF, got == pointer ? "malloc gave out the forged block" : "another block");
    return 0;
}

const struct attack memory_attacks[] = {
    {"write-and-execute", write_and_execute},
    {"write-then-execute", write_then_execute},
    {"execute-written-file", execute_written_file},
    {"write-own-code", write_own_code},
    {"free-twice", free_twice},
    {"free-foreign", free_foreign},
    {NULL, NULL},
};
