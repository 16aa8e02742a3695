// Seeding: what already ran when the watch began is found by iterators, and watched from then on.
//
// They run in the probe, and a tracepoint may interrupt them, so `scratch` is not theirs: paths are
// looked up by user space, which is told what was found.
#pragma once

#include "notes.h"
#include "processes.h"
#include "programs.h"

#define PF_EXITING 4  // include/linux/sched.h
#define TCP_LISTEN 10 // include/net/tcp_states.h; Unix sockets say it by the same word

// What user space is told of a thread: mirrored in seed.rs.
struct seeded { __u32 pid, program, slot, unused; };

struct seq_file;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop

// Its process was chosen, or it descends from one that was.
static __always_inline bool is_chosen(struct task_struct *task)
{
	struct thread *leader = bpf_task_storage_get(&threads, task->group_leader, NULL, 0);
	struct thread *parent;

	if (leader && leader->chosen)
		return true;
	parent = bpf_task_storage_get(&threads, task->real_parent->group_leader, NULL, 0);
	return parent && parent->chosen;
}

static __always_inline void start_watch(struct task_struct *task, struct thread *thread,
					struct file *executable)
{
	struct task_struct *leader = task->group_leader;
	struct thread *parent;
	bool fresh;

	thread->program = find_program(executable, &fresh);
	thread->drill = current_drill();
	parent = bpf_task_storage_get(&threads, task->real_parent->group_leader, NULL, 0);
	if (parent && parent->active && parent->program == thread->program)
		thread->stage = STAGE_WORKER; // forked, as far as can be told now
	thread->slot = find_slot(thread->program, thread->drill, thread->stage);
	thread->chosen = true;
	note_identity(task, thread);
	count_thread(leader, thread->program);
	thread->active = true; // last: from here on, its own calls change it
}

SEC("iter/task")
int seed_thread(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct totals *totals = get_totals();
	struct seeded seeded = { .slot = NO_SLOT };
	struct process *process;
	struct thread *thread;
	struct file *executable;
	__u32 tgid;

	if (!task || !totals || task->flags & PF_EXITING || !is_chosen(task))
		return 0;
	executable = BPF_CORE_READ(task, mm, exe_file);
	thread = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!executable || (thread && thread->active))
		return 0;
	if (thread) {
		totals->level = bpf_get_current_task_btf()->thread_pid->level;
		start_watch(task, thread, executable);
		tgid = task->tgid;
		process = bpf_map_lookup_elem(&processes, &tgid);
		seeded.pid = process ? process->pid : 0;
		seeded.program = thread->program;
		seeded.slot = find_slot(thread->program, thread->drill, 0); // once for a program
	}
	bpf_seq_write(ctx->meta->seq, &seeded, sizeof(seeded));
	return 0;
}

SEC("iter/task_file")
int seed_file(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct totals *totals = get_totals();
	struct thread *thread;
	struct socket *socket;
	__u64 address = 0, magic; // functions take a file as a number, and the verifier tells them apart

	if (!task || !file || !totals)
		return 0;
	thread = bpf_task_storage_get(&threads, task, NULL, 0);
	if (!thread || !thread->active)
		return 0;
	bpf_core_read(&address, sizeof(address), &ctx->file);
	raise_descriptors(thread, ctx->fd);
	totals->doubts = 1; // it may be closed this very moment
	magic = BPF_CORE_READ(file, f_inode, i_sb, s_magic);
	if (magic == PIPEFS_MAGIC)
		live_file(address, LIVE_PIPE_END);
	if (magic != SOCKFS_MAGIC)
		return 0;
	live_file(address, LIVE_SOCKET);
	socket = BPF_CORE_READ(file, private_data);
	if (BPF_CORE_READ(socket, sk, __sk_common.skc_state) == TCP_LISTEN) {
		thread = bpf_task_storage_get(&threads, task->group_leader, NULL, 0);
		if (thread)
			thread->listens = true;
		note_listening(thread, address, 0);
	}
	return 0;
}
