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

static __always_inline bool is_alone(struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);

	return !process || process->threads <= 1;
}

// What the process has done by the time of this call: one of its threads may have settled it. Which
// of several does, and what the others call meanwhile, is up to the scheduler: so all that they
// call once the process listens counts as of a settled one. A call that was named is most often the
// first thread's, whose own order is known; others may come before or after it.
static __always_inline void settle(struct task_struct *task, struct thread *thread,
				   struct rule *rule, struct pt_regs *regs)
{
	struct thread *leader = thread;

	if (task->pid != task->tgid)
		leader = bpf_task_storage_get(&threads, task->group_leader, NULL, 0);
	if (!leader || !(leader->listens || rule->named))
		return;
	if (is_wait(rule, regs))
		leader->settled = true;
	if (!leader->settled && (rule->named ? leader == thread : is_alone(task)))
		return;
	thread->stage |= STAGE_SETTLED;
	thread->slot = NO_SLOT;
}

static long object_of_vma(struct task_struct *task, struct vm_area_struct *vma, __u32 *object)
{
	struct file *file = BPF_CORE_READ(vma, vm_file);

	*object = file ? find_object(task, file) : NO_OBJECT;
	return 0;
}

// Counts a call whose caller is not the last one. Which program or library the instruction lies in
// is found then; where the kernel cannot tell now, it is asked again.
__noinline int count_caller(struct thread *thread, __u64 address, __u32 nr)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct caller_key key = { .address = address, .nr = nr };
	struct tally one = { .count = 1 };
	struct memo *memo = get_memo();
	struct tallied *known;
	long failed = 0;

	if (!thread || !memo || nr >= CALLS)
		return 0;
	key.slot = thread->slot;
	if (memo->calls[nr][1].address == address && memo->calls[nr][1].slot == key.slot &&
	    memo->calls[nr][1].place) {
		add_here(memo->calls[nr][1].place, one);
		return 0;
	}
	known = key.slot == NO_SLOT ? NULL : find_tallied(&callers, &key);
	if (!known) {
		LOSE(events);
		return 0;
	}
	if (address && known->object == NO_OBJECT) {
		__u32 object = NO_OBJECT;

		failed = bpf_find_vma(task, address, object_of_vma, &object, 0);
		known->object = object;
	}
	add_found(known, one);
	if (!known->place || failed == -EBUSY)
		return 0;
	memo->calls[nr][1] = memo->calls[nr][0];
	memo->calls[nr][0].address = address;
	memo->calls[nr][0].slot = key.slot;
	memo->calls[nr][0].place = known->place;
	return 0;
}

static __always_inline void count_call(struct thread *thread, __u64 address, __u32 nr)
{
	struct memo *memo = get_memo();

	if (!memo || nr >= CALLS)
		return;
	if (memo->calls[nr][0].address == address && memo->calls[nr][0].slot == thread->slot &&
	    memo->calls[nr][0].place)
		add_here(memo->calls[nr][0].place, (struct tally){ .count = 1 });
	else
		count_caller(thread, address, nr);
}

__noinline int note_fact(struct thread *thread, struct fact_key *key, bool seen, bool failed)
{
	struct tally add = { .count = seen, .second = failed };
	struct memo *memo = get_memo();
	struct tallied *found;
	__u32 at;

	if (!thread || !key || !memo)
		return 0;
	key->slot = thread->slot;
	at = (key->nr ^ key->args[0] ^ key->args[1] << 2 ^ key->args[2] << 4) & 63;
	if (memo->facts[at].place && !differ(&memo->facts[at].key, key, sizeof(*key))) {
		add_here(memo->facts[at].place, add);
		return 0;
	}
	found = find_tallied(&facts, key);
	if (!found) {
		LOSE(facts);
		return 0;
	}
	add_found(found, add);
	memo->facts[at].key = *key;
	memo->facts[at].place = found->place;
	return 0;
}

// Where another program of ours may be at work on the same processor.
__noinline int note_fact_apart(struct thread *thread, struct fact_key *key, bool failed)
{
	if (!thread || !key)
		return 0;
	key->slot = thread->slot;
	if (!count_shared(&facts, key, (struct tally){ .count = 1, .second = failed }))
		LOSE(facts);
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
	struct tally one = { .count = 1 };
	struct memo *memo = get_memo();
	struct tallied *found;
	__u32 at;

	if (!thread || !memo)
		return 0;
	key.slot = thread->slot;
	at = (nr ^ error) & 63;
	if (memo->errors[at].place && !differ(&memo->errors[at].key, &key, sizeof(key))) {
		add_here(memo->errors[at].place, one);
		return 0;
	}
	found = find_tallied(&errors, &key);
	if (!found) {
		LOSE(errors);
		return 0;
	}
	add_found(found, one);
	memo->errors[at].key = key;
	memo->errors[at].place = found->place;
	return 0;
}
