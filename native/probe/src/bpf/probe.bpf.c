// SPDX-License-Identifier: MIT OR GPL-2.0-only
// The eBPF observer: counts each system call of the watched processes by program and drill.
//
// sys_enter counts (some calls never return), sys_exit adds errors, paths, facts and descriptors;
// fork hands the watch on, exec gives the thread its new program, exit ends it.
#include "notes.h"
#include "processes.h"
#include "programs.h"
#include "seed.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL"; // the kernel's tracing helpers ask for it

#define NR_EXECVE 59
#define NR_MOUNT 165

static __always_inline void now_listens(struct task_struct *task)
{
	struct thread *leader = bpf_task_storage_get(&threads, task->group_leader, NULL, 0);

	if (leader)
		leader->listens = true;
}

static __always_inline bool is_lock(__u64 command)
{
	return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK ||
	       command == F_OFD_SETLKW;
}

static __always_inline void save_args(struct thread *thread, struct pt_regs *regs)
{
	thread->args[0] = regs->di;
	thread->args[1] = regs->si;
	thread->args[2] = regs->dx;
	thread->args[3] = regs->r10;
	thread->args[4] = regs->r8;
	thread->args[5] = regs->r9;
}

static __always_inline void enter_special(struct task_struct *task, struct thread *thread,
					  struct rule *rule)
{
	switch (rule->special) {
	case SPECIAL_CLOSE:
		closing_file((__u64)file_of(task, thread->args[0]));
		break;
	case SPECIAL_DUP2: // what the new number stood for goes away
		if ((__u32)thread->args[0] != (__u32)thread->args[1] && file_of(task, thread->args[0]))
			closing_file((__u64)file_of(task, thread->args[1]));
		break;
	case SPECIAL_CLOSE_RANGE:
		if (!(thread->args[2] & CLOSE_RANGE_CLOEXEC))
			closing_range(thread->args[0], thread->args[1]);
		break;
	case SPECIAL_CHDIR:
		find_cwd(task, &thread->before);
		break;
	}
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_enter, struct pt_regs *regs, long id)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *thread = bpf_task_storage_get(&threads, task, NULL, 0);
	__u32 nr = id;
	struct rule *rule;

	if (!thread)
		return 0;
	thread->pending = 0;
	if (!thread->active)
		return 0;
	if (nr >= CALLS || task->thread_info.status & TS_COMPAT) {
		LOSE(foreign);
		return 0;
	}
	rule = bpf_map_lookup_elem(&rules, &nr);
	if (!rule)
		return 0;
	if (!(thread->stage & STAGE_SETTLED))
		settle(task, thread, rule, regs);
	refresh_slot(thread);
	if (rule->special != SPECIAL_EXEC) // counted for the program that results, see on_exec
		count_call(thread, regs->ip, nr);
	if (rule->special == SPECIAL_NO_RETURN)
		return 0;
	thread->pending = nr + 1;
	if (!rule->used)
		return 0;
	save_args(thread, regs);
	if (rule->has_facts)
		note_facts(thread, nr, rule, false);
	enter_special(task, thread, rule);
	return 0;
}

// What is noted only of calls that succeeded.
static __always_inline void exit_successful(struct thread *thread, __u32 nr, struct rule *rule,
					    long result)
{
	switch (rule->special) {
	case SPECIAL_LISTEN:
		note_listener(thread, thread->args[0], 0);
		now_listens(bpf_get_current_task_btf());
		break;
	case SPECIAL_ACCEPT:
		live_descriptor(result, LIVE_SOCKET);
		note_listener(thread, thread->args[0], 1);
		break;
	case SPECIAL_IDENTITY:
		note_identity(bpf_get_current_task_btf(), thread);
		break;
	case SPECIAL_MOUNT:
		note_filesystem(thread, nr, thread->args[nr == NR_MOUNT ? 2 : 0]);
		break;
	}
}

static __always_inline void exit_special(struct thread *thread, __u32 nr, struct rule *rule,
					 long result, __u32 error)
{
	switch (rule->special) {
	case SPECIAL_MMAP:
		note_map(thread, nr, error);
		break;
	case SPECIAL_BIND:
	case SPECIAL_CONNECT:
	case SPECIAL_SENDTO:
		note_address(thread, nr, rule, error);
		break;
	case SPECIAL_SOCKET:
		if (!error)
			live_descriptor(result, LIVE_SOCKET);
		break;
	case SPECIAL_SOCKETPAIR:
	case SPECIAL_PIPE:
		if (!error) {
			bool pipe = rule->special == SPECIAL_PIPE;

			note_pair(thread->args[pipe ? 0 : 3], pipe ? LIVE_PIPE_END : LIVE_SOCKET);
			pair_descriptors(thread, thread->args[pipe ? 0 : 3]);
		}
		break;
	case SPECIAL_CLONE3:
		note_clone3(thread, nr, error);
		break;
	case SPECIAL_FCNTL:
		if (error)
			break;
		if (thread->args[1] == F_DUPFD || thread->args[1] == F_DUPFD_CLOEXEC)
			raise_descriptors(thread, result);
		if (is_lock(thread->args[1]))
			note_traffic(thread, nr, thread->args[0], MOVES, 0);
		break;
	default:
		if (!error)
			exit_successful(thread, nr, rule, result);
	}
	if (rule->moves && !error) {
		note_traffic(thread, nr, thread->args[0], rule->moves, result);
		if (rule->second >= 0)
			note_traffic(thread, nr, thread->args[rule->second & 7],
				     rule->moves & (MOVES | MOVES_BYTES), result);
	}
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_exit, struct pt_regs *regs, long result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *thread = bpf_task_storage_get(&threads, task, NULL, 0);
	__u32 nr, error = 0;
	struct rule *rule;

	if (!thread || !thread->pending)
		return 0;
	nr = thread->pending - 1;
	thread->pending = 0;
	rule = bpf_map_lookup_elem(&rules, &nr);
	if (!rule)
		return 0;
	if (rule->special == SPECIAL_EXEC)
		count_call(thread, 0, nr);
	if (result < 0 && result >= -MAX_ERRNO) {
		error = -result;
		if (error >= ERESTARTSYS && error <= ERESTART_LAST)
			error = EINTR; // what a program can see of it
		note_error(thread, nr, error);
		if (rule->has_facts)
			note_facts(thread, nr, rule, true);
	}
	if (!rule->used)
		return 0;
	if (rule->returns_descriptor && !error)
		raise_descriptors(thread, result);
	if (rule->special == SPECIAL_OPEN || rule->special == SPECIAL_OPENAT2)
		return note_open(thread, nr, rule, error ? -(long)error : result);
	if (rule->path >= 0)
		note_path(thread, nr, rule, error, false);
	if (rule->path2 >= 0)
		note_path(thread, nr, rule, error, true);
	exit_special(thread, nr, rule, result, error);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct thread *from = bpf_task_storage_get(&threads, self, NULL, 0);
	struct totals *totals = get_totals();
	struct thread *to, *leader;

	if (!from || !from->active) // a thread that is not seeded yet, of a process that was chosen
		from = bpf_task_storage_get(&threads, self->group_leader, NULL, 0);
	if (!from || !(from->active || from->chosen) || !totals)
		return 0;
	to = bpf_task_storage_get(&threads, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!to) {
		LOSE(threads);
		return 0;
	}
	to->chosen = from->chosen;
	if (!from->active)
		return 0;
	to->program = from->program;
	to->drill = from->drill;
	to->slot = from->slot;
	to->stage = from->stage;
	if (child->pid == child->tgid) {
		leader = bpf_task_storage_get(&threads, self->group_leader, NULL, 0);
		to->listens = leader && leader->listens;
		to->stage = STAGE_WORKER;
		to->slot = NO_SLOT;
	}
	to->active = true;
	note_start(from, from->program, child->pid != child->tgid ? STARTED_THREAD : STARTED_PROCESS);
	count_thread(child->group_leader, to->program);
	return 0;
}

// The launched process has executed its command: the watch begins.
static __always_inline void activate(struct task_struct *task, struct thread *thread)
{
	struct totals *totals = get_totals();

	if (!totals)
		return;
	totals->level = task->thread_pid->level; // the probe's own PID namespace
	thread->active = true;
	thread->pending = NR_EXECVE + 1;
	add_thread(totals);
	add_process(task);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct thread *thread = bpf_task_storage_get(&threads, self, NULL, 0);
	struct totals *totals = get_totals();
	bool fresh = false, watched;
	struct scratch *scratch;
	__u32 nr, program, inherited;

	if (!thread || !totals || (thread->chosen && !thread->active))
		return 0;
	watched = thread->active;
	if (!watched)
		activate(self, thread);
	nr = thread->pending ? thread->pending - 1 : NR_EXECVE;
	thread->pending = 0;
	program = find_program(bprm->file, &fresh);
	if (watched) {
		refresh_slot(thread); // what is left behind is who starts it
		note_start(thread, program, STARTED_PROGRAM);
	}
	// Its other threads ended before (de_thread of fs/exec.c).
	if (watched)
		leave_crowd(thread->program, true);
	join_crowd(program, true);
	thread->program = program;
	thread->descriptors = 0;
	inherited = open_descriptors(self);
	if (inherited)
		raise_descriptors(thread, inherited - 1);
	thread->drill = current_drill();
	thread->stage = STAGE_EXEC;
	thread->settled = false;
	thread->slot = find_slot(thread->program, thread->drill, thread->stage);
	totals->doubts = 1; // close-on-exec happened unseen
	count_call(thread, 0, nr);
	note_identity(self, thread);
	store_executed(thread, nr, bprm);
	scratch = fresh ? start_key(thread, nr, ROLE_PROGRAM, program, 0) : NULL;
	if (scratch)
		store_file(self, scratch, bprm->file);
	thread->stage = 0;
	thread->slot = NO_SLOT; // the next call finds it
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_process_exit, struct task_struct *task)
{
	struct task_struct *self = bpf_get_current_task_btf();
	struct thread *thread = bpf_task_storage_get(&threads, self, NULL, 0);
	struct totals *totals = get_totals();
	__u32 tgid = self->tgid;
	struct process *process;
	bool last;

	if (!thread || !thread->active || !totals)
		return 0;
	thread->active = false;
	__sync_fetch_and_add(&totals->threads, -1);
	process = bpf_map_lookup_elem(&processes, &tgid);
	last = process && __sync_fetch_and_add(&process->threads, -1) == 1;
	leave_crowd(thread->program, last);
	if (!last)
		return 0;
	// The last thread: its files go now (exit_files comes after this tracepoint).
	closing_range(0, MAX_DESCRIPTORS);
	bpf_map_delete_elem(&processes, &tgid);
	__sync_fetch_and_add(&totals->processes, -1);
	return 0;
}

// Since 6.13; left out where the kernel does not have it.
SEC("tp_btf/cap_capable")
int BPF_PROG(on_capability, const struct cred *cred, void *target, void *has, int capability,
	     int refused)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *thread = bpf_task_storage_get(&threads, task, NULL, 0);

	if (!thread || !thread->active || thread->slot == NO_SLOT)
		return 0;
	note_capability(thread, capability, refused);
	return 0;
}
