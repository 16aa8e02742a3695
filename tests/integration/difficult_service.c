// A service that is hard to watch, one way at a time; ready when it says "ready", ends on SIGTERM.
//
//   difficult_service stray      a child leaves the session by a double fork, and calls getppid 23 times
//   difficult_service daemon     the command itself becomes a daemon: its first process ends with 0
//   difficult_service deaf       closes every descriptor but its output, then calls getppid 23 times
//   difficult_service setuid P   as nobody, executes the set-user-id program P 23 times
//   difficult_service euid       (that program) calls getppid as whoever owns it; status 0 if root
//   difficult_service crowd      10,000 children, each of which lives for one getppid
//   difficult_service litter     makes 23 files beside its own program
//   difficult_service heir       a child, when it is told to end after its parent has ended, calls getppid 23 times
//   difficult_service clock      sets the clock to what it shows already, 23 times
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMES 23
#define CROWD 10000
#define NOBODY 65534

static void call_getppid(void)
{
	for (int i = 0; i < TIMES; i++)
		syscall(SYS_getppid);
}

static void leave_session(void)
{
	if (fork())
		return;
	setsid();
	if (fork())
		_exit(0);
	call_getppid();
	for (;;)
		pause();
}

static void become_daemon(void)
{
	if (fork())
		_exit(0);
	setsid();
	call_getppid();
}

static void close_all(void)
{
	for (int number = 3; number < 65536; number++)
		close(number);
	close(0);
	call_getppid();
}

static void run_setuid(char *program)
{
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
		exit(3);
	for (int i = 0; i < TIMES; i++) {
		int status = 1;

		if (fork() == 0) {
			execl(program, program, "euid", NULL);
			_exit(4);
		}
		wait(&status);
		if (status)
			exit(5);
	}
}

static void make_crowd(void)
{
	for (int i = 0; i < CROWD; i++) {
		if (fork() == 0) {
			syscall(SYS_getppid);
			_exit(0);
		}
		wait(NULL);
	}
}

static void litter(void)
{
	char program[4096] = "", path[8192];

	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		exit(3);
	for (int i = 0; i < TIMES; i++) {
		snprintf(path, sizeof(path), "%s.litter%02d", program, i);
		close(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
	}
}

static void leave_heir(const sigset_t *signals)
{
	int number;

	if (fork())
		return;
	sigwait(signals, &number);
	call_getppid();
	_exit(0);
}

static void set_clock(void)
{
	for (int i = 0; i < TIMES; i++) {
		struct timespec now;

		clock_gettime(CLOCK_REALTIME, &now);
		clock_settime(CLOCK_REALTIME, &now); // refused on some machines, and counted all the same
	}
}

int main(int count, char **words)
{
	const char *way = count > 1 ? words[1] : "";
	sigset_t signals;
	int number;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (!strcmp(way, "euid"))
		return syscall(SYS_getppid) < 0 || geteuid() != 0;
	if (!strcmp(way, "stray"))
		leave_session();
	else if (!strcmp(way, "daemon"))
		become_daemon();
	else if (!strcmp(way, "deaf"))
		close_all();
	else if (!strcmp(way, "setuid") && count == 3)
		run_setuid(words[2]);
	else if (!strcmp(way, "crowd"))
		make_crowd();
	else if (!strcmp(way, "litter"))
		litter();
	else if (!strcmp(way, "heir"))
		leave_heir(&signals);
	else if (!strcmp(way, "clock"))
		set_clock();
	else
		return 2;
	dprintf(1, "ready\n");
	sigwait(&signals, &number);
	return 0;
}
