// Counters: calls by (program, drill), their errors, and their facts.
#pragma once

#include "shared.h"

static __always_inline __u32 current_drill(void)
{
	__u32 zero = 0, *now = bpf_map_lookup_elem(&drill, &zero);

	return now ? *now : 0;
}

// The row of counters of a program in a drill, made at first use.
__noinline __u32 find_slot(__u32 program, __u32 in_drill)
{
	struct slot_key key = { .program = program, .drill = in_drill };
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
	thread->slot = find_slot(thread->program, now);
}

static __always_inline void count_call(struct thread *thread, __u32 nr)
{
	__u32 slot = thread->slot;
	struct calls *calls = bpf_map_lookup_elem(&counts, &slot);

	if (calls)
		__sync_fetch_and_add(&calls->count[nr & (CALLS - 1)], 1);
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
