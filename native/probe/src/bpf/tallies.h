// Counters by key. A key's place among the tallies of each processor is found in a hash map once, and
// then remembered on that processor with the whole key: so it never has to be forgotten.
//
// Only for programs that no other of ours can interrupt on the same processor (the tracepoints of
// probe.bpf.c but cap_capable): others use `count_shared`.
#pragma once

#include "shared.h"

#define SHORT_KEY 128
#define SHORT_WORDS (SHORT_KEY / sizeof(__u64))

// `place` is that of a tally, 0 for an entry that is empty.
struct memo {
	struct { __u64 address; __u32 slot, place; } calls[CALLS][2]; // the last two callers of each
	struct { struct traffic_key key; __u32 place, unused; } moves[64];
	struct { struct fact_key key; __u32 place, unused; } facts[64];
	struct { struct error_key key; __u32 place, unused; } errors[64];
	struct { __u64 key[SHORT_WORDS]; __u32 place, unused; } files[64];
};

MAP(memo, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct memo, 1, 0);
MAP(tallies, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct tally, TALLIES, 0);

static __always_inline struct memo *get_memo(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&memo, &zero);
}

// Without branches: keys that are looked for are mostly found.
static __always_inline bool differ(const void *left, const void *right, __u32 size)
{
	const __u64 *a = left, *b = right;
	__u64 found = 0;

#pragma unroll
	for (__u32 i = 0; i < size / sizeof(__u64); i++)
		found |= a[i] ^ b[i];
	return found;
}

static __always_inline void add_here(__u32 place, struct tally add)
{
	__u32 index = place - 1;
	struct tally *tally = bpf_map_lookup_elem(&tallies, &index);

	if (!tally) {
		LOSE(events);
		return;
	}
	tally->count += add.count;
	tally->second += add.second;
	tally->third += add.third;
}

static __always_inline void add_shared(struct tallied *found, struct tally add)
{
	__sync_fetch_and_add(&found->shared.count, add.count);
	if (add.second)
		__sync_fetch_and_add(&found->shared.second, add.second);
	if (add.third)
		__sync_fetch_and_add(&found->shared.third, add.third);
}

static __always_inline __u32 new_place(void)
{
	struct totals *totals = get_totals();
	__u64 index;

	if (!totals || totals->next_tally >= TALLIES)
		return 0;
	index = __sync_fetch_and_add(&totals->next_tally, 1);
	return index < TALLIES ? index + 1 : 0;
}

// The counters of a key, made at first use; NULL when the map is full.
static __always_inline struct tallied *find_tallied(void *map, const void *key)
{
	struct tallied *known = bpf_map_lookup_elem(map, key), fresh = { .object = NO_OBJECT };

	if (!known) {
		fresh.place = new_place();
		bpf_map_update_elem(map, key, &fresh, BPF_NOEXIST);
		known = bpf_map_lookup_elem(map, key); // another processor may have been first
	} else if (!known->place) { // it was put there by user space, or there was no room
		__u32 place = new_place();

		if (place)
			__sync_val_compare_and_swap(&known->place, 0, place);
	}
	return known;
}

static __always_inline void add_found(struct tallied *found, struct tally add)
{
	if (found->place)
		add_here(found->place, add);
	else
		add_shared(found, add);
}

// For programs that may be interrupted, and interrupt others.
static __always_inline bool count_shared(void *map, const void *key, struct tally add)
{
	struct tallied *found = find_tallied(map, key);

	if (found)
		add_shared(found, add);
	return found;
}
