// Counters: calls by (program, drill), their errors, and their facts.
#pragma once

#include "programs.h"

static __always_inline __u32 current_drill(void)
{
	__u32 zero = 0, *now = bpf_map_lookup_elem(&drill, &zero);

	return now ? *now : 0;
}

// The row of counters of a program in a drill and a stage, made at first use.
__noinline __u32 find_slot(__u32 program, __u32 in_drill, __u32 stage)
{
	struct slot_key key = { .program = program, .drill = in_drill, .stage = stage };
	__u32 *known = bpf_map_lookup_elem(&slots, &key), fresh;
	struct totals *totals = get_totals();

	if (known)
		return *known;
	if (!totals)
		return NO_SLOT;
	fresh = __sync_fetch_and_add(&totals->next_slot, 1);
	if (fresh >= SLOTS)
		return NO_SLOT;
	if (!bpf_map_update_elem(&slots, &key, &fresh, BPF_NOEXIST))
		return fresh;
	known = bpf_map_lookup_elem(&slots, &key); // another processor was first
	return known ? *known : NO_SLOT;
}

static __always_inline void refresh_slot(struct thread *thread)
{
	__u32 now = current_drill();

	if (thread->drill == now && thread->slot != NO_SLOT)
		return;
	thread->drill = now;
	thread->slot = find_slot(thread->program, now, thread->stage);
	__builtin_memset(thread->cache, 0, sizeof(thread->cache));
}

// Whether this call waits: for a connection, a request, a signal or the end of a child.
static __always_inline bool is_wait(struct rule *rule, struct pt_regs *regs)
{
	if (rule->waits == WAITS + 2) // wait4(2): its third argument
		return !(regs->dx & WNOHANG);
	if (rule->waits == WAITS + 3) // waitid(2)
		return !(regs->r10 & WNOHANG);
	return rule->waits;
}

// What the process has done by the time of this call: one of its threads may have settled it.
static __always_inline void settle(struct task_struct *task, struct thread *thread,
				   struct rule *rule, struct pt_regs *regs)
{
	struct thread *leader = bpf_task_storage_get(&threads, task->group_leader, NULL, 0);

	if (!leader || !leader->listens)
		return;
	if (!leader->settled && !is_wait(rule, regs))
		return;
	leader->settled = true;
	thread->stage |= STAGE_SETTLED;
	thread->slot = NO_SLOT;
}

static long object_of_vma(struct task_struct *task, struct vm_area_struct *vma, __u32 *object)
{
	struct file *file = BPF_CORE_READ(vma, vm_file);

	*object = file ? find_object(task, file) : NO_OBJECT;
	return 0;
}

// The counter of a call made by the instruction at `address`, made at first use. Which program or
// library that lies in is found then; where the kernel cannot tell now, it is asked again.
__noinline int find_counter(struct thread *thread, __u64 address, __u32 nr)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct caller_key key = { .address = address, .nr = nr };
	struct caller fresh = { .object = NO_OBJECT }, *known;
	struct totals *totals = get_totals();

	if (!thread || !totals)
		return -1;
	key.slot = thread->slot;
	if (key.slot == NO_SLOT)
		return -1;
	known = bpf_map_lookup_elem(&callers, &key);
	if (!known) {
		fresh.index = __sync_fetch_and_add(&totals->next_counter, 1);
		if (fresh.index >= COUNTERS)
			return -1;
		bpf_map_update_elem(&callers, &key, &fresh, BPF_NOEXIST);
		known = bpf_map_lookup_elem(&callers, &key); // another processor may have been first
		if (!known)
			return -1;
	}
	if (address && known->object == NO_OBJECT) {
		__u32 object = NO_OBJECT;

		bpf_find_vma(task, address, object_of_vma, &object, 0);
		known->object = object;
	}
	return known->index;
}

static __always_inline void count_call(struct thread *thread, __u64 address, __u32 nr)
{
	__u64 key = address ^ (__u64)(nr + 1) << 48;
	struct cached *cached = &thread->cache[(address >> 2 ^ nr) & (CACHED - 1)];
	__u32 index = cached->index;
	__u64 *count;

	if (cached->key != key) {
		index = find_counter(thread, address, nr);
		cached->key = key;
		cached->index = index;
	}
	count = bpf_map_lookup_elem(&counts, &index);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		LOSE(events);
}

__noinline int note_fact(struct thread *thread, struct fact_key *key, bool seen, bool failed)
{
	struct fact first = {}, *fact;

	if (!thread || !key)
		return 0;
	key->slot = thread->slot;
	fact = bpf_map_lookup_elem(&facts, key);
	if (!fact) {
		bpf_map_update_elem(&facts, key, &first, BPF_NOEXIST);
		fact = bpf_map_lookup_elem(&facts, key);
	}
	if (!fact) {
		LOSE(facts);
		return 0;
	}
	if (seen)
		__sync_fetch_and_add(&fact->count, 1);
	if (failed)
		__sync_fetch_and_add(&fact->failed, 1);
	return 0;
}

// Facts from registers are counted at entry, and at exit only if the call failed.
__noinline int note_facts(struct thread *thread, __u32 nr, struct rule *rule, bool failed)
{
	struct fact_key key = { .nr = nr };

	if (!thread || !rule)
		return 0;
	for (int i = 0; i < 3; i++)
		if (rule->facts[i] >= 0)
			key.args[i] = (__u32)thread->args[rule->facts[i] & 7];
	return note_fact(thread, &key, !failed, failed);
}

__noinline int note_error(struct thread *thread, __u32 nr, __u32 error)
{
	struct error_key key = { .nr = nr, .error = error };

	if (!thread)
		return 0;
	key.slot = thread->slot;
	if (!count_in(&errors, &key))
		LOSE(errors);
	return 0;
}
