// How many watched processes and threads are alive, and the processes' numbers.
#pragma once

#include "shared.h"

// Those that run a program, counted from the first on.
static __noinline struct crowd *crowd_of(__u32 program)
{
	struct crowd *crowd = bpf_map_lookup_elem(&crowds, &program), none = {};

	if (crowd)
		return crowd;
	bpf_map_update_elem(&crowds, &program, &none, BPF_NOEXIST); // another processor may be first
	return bpf_map_lookup_elem(&crowds, &program);
}

static __always_inline void join_crowd(__u32 program, bool with_process)
{
	struct crowd *crowd = crowd_of(program);

	if (!crowd) {
		LOSE(threads);
		return;
	}
	raise_peak(&crowd->peak_threads, __sync_fetch_and_add(&crowd->threads, 1) + 1);
	if (with_process)
		raise_peak(&crowd->peak_processes, __sync_fetch_and_add(&crowd->processes, 1) + 1);
}

static __always_inline void leave_crowd(__u32 program, bool with_process)
{
	struct crowd *crowd = crowd_of(program);

	if (!crowd)
		return;
	__sync_fetch_and_add(&crowd->threads, -1);
	if (with_process)
		__sync_fetch_and_add(&crowd->processes, -1);
}

#define DESCRIPTOR_WORDS 64 // of 64 descriptors each

// One more than the place of the highest bit of a word that is not 0. (clang 14 does not come to an
// end with __builtin_clzll.)
static __always_inline __u32 bit_length(__u64 word)
{
	__u32 bits = 1;

	for (__u32 half = 32; half; half /= 2) {
		if (word >> half) {
			word >>= half;
			bits += half;
		}
	}
	return bits;
}

struct open {
	unsigned long *words;
	__u32 count, before; // of descriptors below the last word that is not 0
	__u64 last;
};

static long look_at_word(__u32 i, struct open *open)
{
	__u64 word;

	if (i * 64 >= open->count)
		return 1;
	word = READ_WORD(open->words + i);
	if (word) {
		open->last = word;
		open->before = i * 64;
	}
	return 0;
}

// One more than the highest descriptor that is open, of the first 4,096; 0 where none is.
static __noinline __u32 open_descriptors(struct task_struct *task)
{
	struct open open = {};

	if (!task->files)
		return 0;
	open.words = task->files->fdt->open_fds;
	open.count = task->files->fdt->max_fds;
	bpf_loop(DESCRIPTOR_WORDS, look_at_word, &open, 0);
	return open.last ? open.before + bit_length(open.last) : 0;
}

static __always_inline void add_thread(struct totals *totals)
{
	raise_peak(&totals->peak_threads, __sync_fetch_and_add(&totals->threads, 1) + 1);
}

// A new process: remember its number as the probe's PID namespace has it, to be able to kill it.
static __noinline int add_process(struct task_struct *task)
{
	struct totals *totals = get_totals();
	struct process process = { .threads = 1 };
	__u32 tgid = task->tgid;
	void *numbers;

	if (!totals)
		return 0;
	numbers = (void *)BPF_CORE_READ(task, thread_pid) + bpf_core_field_offset(struct pid, numbers);
	numbers += totals->level * bpf_core_type_size(struct upid);
	bpf_probe_read_kernel(&process.pid, sizeof(process.pid), numbers);
	if (bpf_map_update_elem(&processes, &tgid, &process, BPF_ANY))
		LOSE(threads);
	raise_peak(&totals->peak_processes, __sync_fetch_and_add(&totals->processes, 1) + 1);
	return 0;
}

// A thread more of the process that `leader` leads, the first one perhaps, and runs `program`.
static __always_inline void count_thread(struct task_struct *leader, __u32 program)
{
	struct totals *totals = get_totals();
	__u32 tgid = leader->tgid;
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);

	if (totals)
		add_thread(totals);
	if (process)
		__sync_fetch_and_add(&process->threads, 1);
	else
		add_process(leader);
	join_crowd(program, !process);
}
