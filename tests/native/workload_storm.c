// Starts one child after the other, each with a thread and a child of its own that outlives it; both make
// TIMES calls of its own kind. The main process collects all of them (it is their subreaper).
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 23

static void call(long number)
{
	for (int i = 0; i < TIMES; i++)
		syscall(number);
}

static void *run_thread(void *nothing)
{
	call(SYS_getppid);
	return nothing;
}

static void run_child(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run_thread, NULL) || pthread_join(thread, NULL))
		abort();
	if (!fork())
		call(SYS_getpgrp);
	_exit(0);
}

int main(void)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		abort();
	for (;;) {
		if (!fork())
			run_child();
		wait(NULL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
