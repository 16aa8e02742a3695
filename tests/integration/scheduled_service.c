// A service with known memory, scheduling and timers, until SIGTERM.
//
//   scheduled_service FILE CPU   with 23 MiB of anonymous memory, FILE mapped, 5 MiB more of heap, and on
//                                processor CPU: a batch thread of nice 5 (the first), an idle one and one of nice
//                                7, which have stacks of 1 MiB
//   scheduled_service            with nothing of that
//   scheduled_service huge       with 6 MiB in huge pages by madvise
//   scheduled_service hugetlb    with 4 MiB of MAP_HUGETLB
//   scheduled_service realtime CPU   on processor CPU: SCHED_FIFO of priority 17, and a thread of SCHED_RR of 23
// Status 77 where this machine gives it none of that.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)
#define HUGE (2 * MIB)
#define NOT_HERE 77
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 // since Linux 6.1
#endif

static void check(int holds, const char *what)
{
	if (!holds) {
		perror(what);
		exit(1);
	}
}

static void map_memory(const char *path)
{
	int file = open(path, O_RDONLY);
	struct stat status;
	int protection = PROT_READ | PROT_WRITE;

	check(file >= 0 && fstat(file, &status) == 0, path);
	check(mmap(NULL, 20 * MIB, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED, "mmap");
	check(mmap(NULL, 3 * MIB, protection, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED, "mmap");
	check(mmap(NULL, 99 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED, "mmap");
	check(mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, file, 0) != MAP_FAILED, "mmap");
	check(sbrk(5 * MIB) != (void *)-1, "sbrk");
}

static pthread_barrier_t set;
static void *volatile kept;

static void *be_idle(void *unused)
{
	struct sched_param none = { 0 };

	check(sched_setscheduler(0, SCHED_IDLE, &none) == 0, "sched_setscheduler");
	pthread_barrier_wait(&set);
	pause();
	return unused;
}

static void *be_nice(void *unused)
{
	struct sched_param none = { 0 };

	check(sched_setscheduler(0, SCHED_OTHER, &none) == 0, "sched_setscheduler");
	check(setpriority(PRIO_PROCESS, gettid(), 7) == 0, "setpriority");
	pthread_barrier_wait(&set);
	pause();
	return unused;
}

static void schedule(int processor)
{
	struct sched_param none = { 0 };
	pthread_t thread;
	pthread_attr_t small;
	cpu_set_t allowed;

	CPU_ZERO(&allowed);
	CPU_SET(processor, &allowed);
	check(sched_setaffinity(0, sizeof(allowed), &allowed) == 0, "sched_setaffinity");
	check(setpriority(PRIO_PROCESS, 0, 5) == 0, "setpriority");
	check(sched_setscheduler(0, SCHED_BATCH, &none) == 0, "sched_setscheduler");
	pthread_barrier_init(&set, NULL, 3);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, MIB);
	check(pthread_create(&thread, &small, be_idle, NULL) == 0, "pthread_create");
	check(pthread_create(&thread, &small, be_nice, NULL) == 0, "pthread_create");
	pthread_barrier_wait(&set);
}

static void make_timers(void)
{
	struct itimerval never = { 0 };
	timer_t timer;

	check(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0, "timer_create");
	check(timerfd_create(CLOCK_BOOTTIME, 0) >= 0, "timerfd_create");
	check(setitimer(ITIMER_VIRTUAL, &never, NULL) == 0, "setitimer");
}

static void map_huge(int by_table)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | (by_table ? MAP_HUGETLB : 0);
	size_t size = by_table ? 2 * HUGE : 4 * HUGE;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (memory == MAP_FAILED)
		exit(NOT_HERE);
	if (!by_table) {
		memory += -(size_t)memory % HUGE;
		size = 3 * HUGE;
		check(madvise(memory, size, MADV_HUGEPAGE) == 0, "madvise");
	}
	memset(memory, 1, size);
	// Whether a fault got a huge page depends on what was free; this waits for them.
	if (!by_table && madvise(memory, size, MADV_COLLAPSE))
		exit(NOT_HERE);
}

static void *be_round_robin(void *unused)
{
	struct sched_param param = { .sched_priority = 23 };

	check(sched_setscheduler(0, SCHED_RR, &param) == 0, "sched_setscheduler");
	pthread_barrier_wait(&set);
	pause();
	return unused;
}

static void be_realtime(int processor)
{
	struct sched_param param = { .sched_priority = 17 };
	pthread_t thread;
	cpu_set_t allowed;

	CPU_ZERO(&allowed);
	CPU_SET(processor, &allowed);
	check(sched_setaffinity(0, sizeof(allowed), &allowed) == 0, "sched_setaffinity");
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		exit(NOT_HERE);
	pthread_barrier_init(&set, NULL, 2);
	check(pthread_create(&thread, NULL, be_round_robin, NULL) == 0, "pthread_create");
	pthread_barrier_wait(&set);
}

int main(int count, char **words)
{
	sigset_t ends;
	int number;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	kept = malloc(1); // both ways have a heap
	if (count == 2) {
		map_huge(!strcmp(words[1], "hugetlb"));
	} else if (count == 3 && !strcmp(words[1], "realtime")) {
		be_realtime(atoi(words[2]));
	} else if (count == 3) {
		map_memory(words[1]);
		schedule(atoi(words[2]));
		make_timers();
	}
	dprintf(1, "ready\n");
	return sigwait(&ends, &number);
}
