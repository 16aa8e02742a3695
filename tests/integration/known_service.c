// A service that does exactly 23 of each thing, once before it is ready and once on SIGUSR1.
//
//   known_service DIR    opens DIR/bootNN at start and DIR/serveNN on SIGUSR1, then makes DIR/done
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TIMES 23

static void *volatile kept[3 * TIMES]; // volatile: or the compiler leaves the blocks out
static int kept_count;

static void keep_blocks(size_t size)
{
	for (int i = 0; i < TIMES; i++)
		kept[kept_count++] = malloc(size);
}

static void open_files(const char *folder, const char *name)
{
	char path[4096];

	for (int i = 0; i < TIMES; i++) {
		snprintf(path, sizeof(path), "%s/%s%02d", folder, name, i);
		close(open(path, O_RDONLY));
	}
}

static void make_calls(long number)
{
	for (int i = 0; i < TIMES; i++)
		syscall(number);
}

int main(int count, char **words)
{
	char done[4096];
	sigset_t signals;
	int number;

	if (count != 2)
		return 2;
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	snprintf(done, sizeof(done), "%s/done", words[1]);
	open_files(words[1], "boot");
	make_calls(SYS_getppid);
	keep_blocks(1001);
	keep_blocks(2003);
	dprintf(1, "ready\n");
	while (sigwait(&signals, &number) == 0 && number == SIGUSR1) {
		open_files(words[1], "serve");
		make_calls(SYS_sched_yield);
		keep_blocks(4007);
		close(open(done, O_WRONLY | O_CREAT, 0600));
	}
	return 0;
}
