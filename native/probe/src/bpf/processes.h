// How many watched processes and threads are alive, and the processes' numbers.
#pragma once

#include "shared.h"

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

// A thread more of the process that `leader` leads, the first one perhaps.
static __always_inline void count_thread(struct task_struct *leader)
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
}
