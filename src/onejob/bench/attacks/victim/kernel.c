/* Attacks on the kernel: code loaded into it, calls that go round the policy, the clock. */
#include "victim.h"
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <time.h>

static int load_module(const char *path, char *proof)
{
    char name[64] = "", *list = calloc(1, 1 << 16);
    int fd = open(path, O_RDONLY);
    if (fd < 0 ? syscall(SYS_init_module, MARK, sizeof MARK, "") : syscall(SYS_finit_module, fd, "", 0))
        return -1;
    sscanf(strrchr(path, '/') + 1, "%63[^.]", name);
    if (get_file("/proc/modules", list, 1 << 16) > 0 && strstr(list, name))
        snprintf(proof, PROOF, "the kernel has %s", name);
    return 0;
}

/* A program that returns 42, run once by the kernel. */
static int load_bpf(const char *unused, char *proof)
{
    struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 42},
                              {.code = BPF_JMP | BPF_EXIT}};
    char packet[64] = "";
    union bpf_attr attributes = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER};
    (void)unused;
    attributes.insns = (__u64)(unsigned long)code;
    attributes.insn_cnt = 2;
    attributes.license = (__u64)(unsigned long)"GPL";
    int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
    if (program < 0)
        return -1;
    memset(&attributes, 0, sizeof attributes);
    attributes.test.prog_fd = program;
    attributes.test.data_in = (__u64)(unsigned long)packet;
    attributes.test.data_size_in = sizeof packet;
    if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof attributes))
        return -1;
    snprintf(proof, PROOF, "the kernel says %u", attributes.test.retval);
    return 0;
}

/* Create a file by a ring, which no filter of calls sees. */
static int use_ring(const char *path, char *proof)
{
    struct io_uring_params made = {0};
    (void)proof;
    int ring = (int)syscall(SYS_io_uring_setup, 4, &made);
    if (ring < 0)
        return -1;
    size_t size = made.sq_off.array + made.sq_entries * sizeof(unsigned);
    int shared = MAP_SHARED, rw = PROT_READ | PROT_WRITE;
    char *queue = mmap(NULL, size, rw, shared, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry = mmap(NULL, 4096, rw, shared, ring, IORING_OFF_SQES);
    if (queue == MAP_FAILED || entry == MAP_FAILED)
        return -1;
    memset(entry, 0, sizeof *entry);
    entry->opcode = IORING_OP_OPENAT;
    entry->fd = AT_FDCWD;
    entry->addr = (__u64)(unsigned long)path;
    entry->open_flags = O_WRONLY | O_CREAT;
    entry->len = 0644;
    *(unsigned *)(queue + made.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(queue + made.sq_off.tail), 1, __ATOMIC_RELEASE);
    return syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1 ? 0 : -1;
}

static long long nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int step_clock(long long by)
{
    long long then = nanoseconds(CLOCK_REALTIME) + by;
    struct timespec wanted = {then / 1000000000LL, then % 1000000000LL};
    return clock_settime(CLOCK_REALTIME, &wanted);
}

/* By 20 ms, and back: enough to be seen, too little to hurt the machine that shows it. */
static int change_clock(const char *unused, char *proof)
{
    enum { STEP = 20000000 };
    (void)unused;
    long long before = nanoseconds(CLOCK_REALTIME) - nanoseconds(CLOCK_MONOTONIC);
    if (step_clock(STEP))
        return -1;
    long long moved = nanoseconds(CLOCK_REALTIME) - nanoseconds(CLOCK_MONOTONIC) - before;
    step_clock(-STEP);
    snprintf(proof, PROOF, moved > STEP / 2 ? "the clock moved" : "the clock went on");
    return 0;
}

const struct attack kernel_attacks[] = {
    {"load-module", load_module},
    {"load-bpf", load_bpf},
    {"use-ring", use_ring},
    {"change-clock", change_clock},
    {NULL, NULL},
};
