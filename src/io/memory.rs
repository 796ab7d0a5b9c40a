//! Memory for buffers: runs of whole blocks out of large regions, which each thread keeps for itself.
//!
//! Fresh memory costs a page fault for each of its pages, which is more than the work on its contents; so what was
//! used once is used again. Regions ask for huge pages: direct I/O then looks one page up where it would look up 512.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::limits::{
    BLOCK_BYTES, HEAP_FREE_BYTES_MAX, HUGE_PAGE_BYTES, REGION_BYTES, REGIONS_FREE_MAX,
};

const BLOCKS: usize = REGION_BYTES / BLOCK_BYTES;
const WORDS: usize = BLOCKS / u64::BITS as usize;
const _: () = assert!(BLOCKS == WORDS * u64::BITS as usize);

/// Whole blocks that may hold anything, given back when dropped, on whatever thread.
pub(super) struct Memory {
    start: NonNull<u8>,
    capacity: usize,
    /// Where it comes from; None for what is larger than a region.
    region: Option<Arc<Region>>,
}

/// A mapping. It lives as long as the thread keeps it or a part of it is in use.
struct Region {
    start: NonNull<u8>,
    /// The arena that hands it out.
    arena: u64,
    /// What other threads gave back: first block, and how many.
    returned: Mutex<Vec<(usize, usize)>>,
    /// Whether there is any.
    has_returned: AtomicBool,
    /// Whether any region of the arena has some.
    arena_has_returned: Arc<AtomicBool>,
}

/// A region, and which of its blocks are free.
struct Kept {
    region: Arc<Region>,
    free: [u64; WORDS],
    free_blocks: usize,
    /// There is no longer run of free blocks than this.
    longest: usize,
}

/// The regions of one thread, the oldest first.
struct Arena {
    id: u64,
    regions: Vec<Kept>,
    /// Of all regions.
    used_blocks: usize,
    /// Other threads gave something back that has not been taken.
    has_returned: Arc<AtomicBool>,
    /// For the ring of this thread that has regions registered.
    places: Option<Places>,
}

/// A ring's table of registered buffers, and which regions are there.
struct Places {
    /// The start of each region that is there, and its place.
    taken: Vec<(usize, u16)>,
    free: Vec<u16>,
    /// Places of regions that are not mapped any more, or were given up, which the ring has not emptied yet.
    left: Vec<u16>,
    /// A registration was refused, and no region was unmapped since then.
    full: bool,
    /// One was, since places were emptied.
    unmapped: bool,
}

static ARENAS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static ARENA: RefCell<Arena> =
        RefCell::new(Arena {
            id: ARENAS.fetch_add(1, Ordering::Relaxed),
            regions: Vec::new(),
            used_blocks: 0,
            has_returned: Arc::default(),
            places: None,
        });
}

// SAFETY: an address range with a lock around its bookkeeping; who may touch which bytes is for its users.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}
// SAFETY: plain bytes, owned by this value. Who shares them sees to it that nobody reads what is being written.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// So many bytes, which are whole blocks and not none.
    pub(super) fn new(capacity: usize) -> Memory {
        assert!(
            capacity > 0 && capacity.is_multiple_of(BLOCK_BYTES),
            "{capacity} bytes are not whole blocks"
        );
        let found = (capacity <= REGION_BYTES)
            .then(|| ARENA.try_with(|arena| arena.borrow_mut().take(capacity / BLOCK_BYTES)).ok())
            .flatten();
        let Some((region, block)) = found else { return Memory::alone(capacity) };
        // SAFETY: the run of blocks lies within the region.
        let start = unsafe { region.start.add(block * BLOCK_BYTES) };
        Memory { start, capacity, region: Some(region) }
    }

    fn alone(capacity: usize) -> Memory {
        let layout = Memory::layout(capacity);
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Memory { start, capacity, region: None }
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, BLOCK_BYTES).expect("a capacity that fits in memory")
    }

    /// Gives back what lies behind so many bytes, which are whole blocks and not none.
    pub(super) fn shrink(&mut self, capacity: usize) {
        assert!(
            capacity > 0 && capacity.is_multiple_of(BLOCK_BYTES),
            "{capacity} bytes are not whole blocks"
        );
        let Some(region) = self.region.as_ref().filter(|_| capacity < self.capacity) else { return };
        let from = self.start.as_ptr().wrapping_add(capacity);
        give_back(region, from, self.capacity - capacity);
        self.capacity = capacity;
    }

    /// Takes what lies behind as well, up to so many bytes in all (whole blocks); false if that is not free.
    pub(super) fn extend(&mut self, capacity: usize) -> bool {
        assert!(capacity.is_multiple_of(BLOCK_BYTES), "{capacity} bytes are not whole blocks");
        let Some(region) = &self.region else { return false };
        let end = self.start.as_ptr().wrapping_add(self.capacity);
        let block = (end.addr() - region.start.as_ptr().addr()) / BLOCK_BYTES;
        let blocks = capacity.saturating_sub(self.capacity) / BLOCK_BYTES;
        let done = ARENA.try_with(|arena| arena.borrow_mut().take_at(region, block, blocks)) == Ok(true);
        if done {
            self.capacity = self.capacity.max(capacity);
        }
        done
    }

    /// The first byte.
    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Bytes from there on.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let Some(region) = self.region.take() else {
            // SAFETY: allocated in `alone` with the same layout, and nobody refers to it any more.
            return unsafe { dealloc(self.start.as_ptr(), Memory::layout(self.capacity)) };
        };
        give_back(&region, self.start.as_ptr(), self.capacity);
    }
}

/// Bytes of this thread's regions that are in use, whoever uses them.
pub(super) fn in_use() -> usize {
    ARENA.try_with(|arena| arena.borrow().used_blocks * BLOCK_BYTES).unwrap_or_default()
}

/// Takes back what other threads gave back since the last call. Regions of which nothing is in use are unmapped, save a
/// few.
pub(super) fn collect() {
    let _ = ARENA.try_with(|arena| arena.borrow_mut().collect()); // a thread that ends has no regions
}

/// Gives the heap's free pages back to the system, on a thread of its own, if there are many. Memory that was allocated
/// in between is kept otherwise, as only the top of a heap shrinks by itself.
pub(super) fn trim_heap() {
    static RUNS: AtomicBool = AtomicBool::new(false);
    if RUNS.swap(true, Ordering::Relaxed) {
        return;
    }
    let trim = || {
        // SAFETY: only looks at the allocator's own books, under its own locks.
        let free = unsafe { libc::mallinfo2() }.fordblks;
        if free > HEAP_FREE_BYTES_MAX {
            // SAFETY: as above; what is in use stays.
            unsafe { libc::malloc_trim(0) };
        }
        RUNS.store(false, Ordering::Relaxed);
    };
    // Without a thread it is tried again later.
    if std::thread::Builder::new().name("ottla-trim".to_owned()).spawn(trim).is_err() {
        RUNS.store(false, Ordering::Relaxed);
    }
}

/// Makes the calling ring the one that this thread's regions are registered with, at so many places; false if another
/// one of this thread is.
pub(super) fn attach(places: u16) -> bool {
    let attach = |arena: &mut Arena| {
        let new = arena.places.is_none();
        if new {
            let free = (0..places).rev().collect();
            arena.places =
                Some(Places { taken: Vec::new(), free, left: Vec::new(), full: false, unmapped: false });
        }
        new
    };
    ARENA.try_with(|arena| attach(&mut arena.borrow_mut())) == Ok(true)
}

/// The ring that had regions registered is closed.
pub(super) fn detach() {
    let _ = ARENA.try_with(|arena| arena.borrow_mut().places = None); // a thread that ends has no regions
}

/// The place of the region of this thread that holds all of these bytes. If it has none yet, it gets one by `register`
/// (a place; where the region begins, and its length), unless that refuses. None also for bytes that lie elsewhere.
pub(super) fn place_of(
    start: *const u8,
    bytes: usize,
    register: impl FnOnce(u16, *mut u8, usize) -> bool,
) -> Option<u16> {
    let from = start.addr();
    let holds = |region: usize| region <= from && from + bytes <= region + REGION_BYTES;
    let place = |arena: &mut Arena| {
        let places = arena.places.as_mut()?;
        if let Some((_, place)) = places.taken.iter().find(|(region, _)| holds(*region)) {
            return Some(*place);
        }
        if places.full {
            return None;
        }
        let region = arena.regions.iter().find(|kept| holds(kept.region.start.addr().get()))?.region.start;
        let place = *places.free.last()?;
        if !register(place, region.as_ptr(), REGION_BYTES) {
            // The limit on locked memory is the user's: some of it is left to whoever starts next.
            places.full = true;
            let last = places.taken.pop();
            places.left.extend(last.map(|(_, place)| place));
            return None;
        }
        places.free.pop();
        places.taken.push((region.addr().get(), place));
        Some(place)
    };
    ARENA.try_with(|arena| place(&mut arena.borrow_mut())).ok().flatten()
}

/// Gives each place whose region is not registered any more to `empty`; then it is free again. No operation that names
/// one may be waiting to be submitted.
pub(super) fn empty_places(mut empty: impl FnMut(u16)) {
    let _ = ARENA.try_with(|arena| {
        let mut arena = arena.borrow_mut();
        let Some(places) = arena.places.as_mut().filter(|places| !places.left.is_empty()) else { return };
        for place in places.left.drain(..) {
            empty(place);
            places.free.push(place);
        }
        places.full &= !std::mem::take(&mut places.unmapped);
    });
}

/// So many bytes of a region, whole blocks, are free from now on.
fn give_back(region: &Arc<Region>, start: *mut u8, bytes: usize) {
    let block = (start.addr() - region.start.as_ptr().addr()) / BLOCK_BYTES;
    let count = bytes / BLOCK_BYTES;
    let own = ARENA.try_with(|arena| arena.borrow_mut().give_back(region, block, count));
    if own != Ok(true) {
        region.returned.lock().unwrap_or_else(PoisonError::into_inner).push((block, count));
        region.has_returned.store(true, Ordering::Release);
        region.arena_has_returned.store(true, Ordering::Release);
    }
}

impl Region {
    fn new(arena: u64, huge: bool, arena_has_returned: Arc<AtomicBool>) -> Region {
        let wanted = REGION_BYTES + HUGE_PAGE_BYTES;
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new private mapping, at an address that the kernel chooses.
        let raw = unsafe { libc::mmap(ptr::null_mut(), wanted, protection, flags, -1, 0) };
        if raw == libc::MAP_FAILED {
            handle_alloc_error(Memory::layout(REGION_BYTES));
        }
        let raw = raw.cast::<u8>();
        let before = raw.align_offset(HUGE_PAGE_BYTES);
        let start = raw.wrapping_add(before);
        unmap(raw, before);
        unmap(start.wrapping_add(REGION_BYTES), HUGE_PAGE_BYTES - before);
        if huge {
            // SAFETY: the range is ours. A kernel without huge pages refuses, which changes nothing.
            unsafe { libc::madvise(start.cast(), REGION_BYTES, libc::MADV_HUGEPAGE) };
        }
        let start = NonNull::new(start).expect("a mapping is not at zero");
        let (returned, has_returned) = (Mutex::default(), AtomicBool::new(false));
        Region { start, arena, returned, has_returned, arena_has_returned }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        unmap(self.start.as_ptr(), REGION_BYTES);
    }
}

fn unmap(start: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: a part of a mapping of ours that nobody refers to.
        unsafe { libc::munmap(start.cast(), bytes) };
    }
}

impl Arena {
    /// A run of so many blocks: its region, and its first block.
    fn take(&mut self, blocks: usize) -> (Arc<Region>, usize) {
        for kept in &mut self.regions {
            self.used_blocks -= kept.collect();
            if let Some(block) = kept.take(blocks) {
                self.used_blocks += blocks;
                return (Arc::clone(&kept.region), block);
            }
        }
        self.used_blocks += blocks;
        // A core that does little stays with one region, of which it only has the pages that it touched.
        let region = Arc::new(Region::new(self.id, !self.regions.is_empty(), Arc::clone(&self.has_returned)));
        let mut kept = Kept { region, free: [u64::MAX; WORDS], free_blocks: BLOCKS, longest: BLOCKS };
        let block = kept.take(blocks).expect("a new region is free");
        let region = Arc::clone(&kept.region);
        self.regions.push(kept);
        (region, block)
    }

    /// Takes back what other threads gave back.
    fn collect(&mut self) {
        if !self.has_returned.load(Ordering::Relaxed) || !self.has_returned.swap(false, Ordering::Acquire) {
            return;
        }
        let before = self.used_blocks;
        for kept in &mut self.regions {
            self.used_blocks -= kept.collect();
        }
        if self.used_blocks < before {
            self.unmap_free();
        }
    }

    /// False if the region is another thread's.
    fn give_back(&mut self, region: &Arc<Region>, block: usize, count: usize) -> bool {
        if region.arena != self.id {
            return false;
        }
        self.used_blocks -= count;
        let kept = self.kept(region);
        kept.give_back(block, count);
        if kept.free_blocks == BLOCKS {
            self.unmap_free();
        }
        true
    }

    /// Takes certain blocks of a region; false if they are not all free.
    fn take_at(&mut self, region: &Arc<Region>, block: usize, blocks: usize) -> bool {
        let taken = region.arena == self.id && self.kept(region).take_at(block, blocks);
        self.used_blocks += if taken { blocks } else { 0 };
        taken
    }

    fn kept(&mut self, region: &Arc<Region>) -> &mut Kept {
        let kept = self.regions.iter_mut().find(|kept| Arc::ptr_eq(&kept.region, region));
        kept.expect("a region with blocks in use is kept")
    }

    fn unmap_free(&mut self) {
        let (mut free, places) = (0, &mut self.places);
        self.regions.retain(|kept| {
            free += usize::from(kept.free_blocks == BLOCKS);
            let stays = kept.free_blocks < BLOCKS || free <= REGIONS_FREE_MAX;
            if let Some(places) = places.as_mut().filter(|_| !stays) {
                places.leave(kept.region.start.addr().get());
            }
            stays
        });
    }
}

impl Places {
    /// A region goes; nothing of it is in use.
    fn leave(&mut self, region: usize) {
        if let Some(at) = self.taken.iter().position(|(start, _)| *start == region) {
            self.left.push(self.taken.swap_remove(at).1);
            self.unmapped = true;
        }
    }
}

impl Kept {
    /// Takes back what other threads gave back: how many blocks.
    fn collect(&mut self) -> usize {
        let mut blocks = 0;
        if self.region.has_returned.load(Ordering::Relaxed)
            && self.region.has_returned.swap(false, Ordering::Acquire)
        {
            let returned =
                std::mem::take(&mut *self.region.returned.lock().unwrap_or_else(PoisonError::into_inner));
            for (block, count) in returned {
                self.give_back(block, count);
                blocks += count;
            }
        }
        blocks
    }

    fn take(&mut self, blocks: usize) -> Option<usize> {
        if self.longest < blocks {
            return None;
        }
        let Some(block) = self.find(blocks) else {
            self.longest = blocks - 1;
            return None;
        };
        self.set(block, blocks, false);
        self.free_blocks -= blocks;
        Some(block)
    }

    fn take_at(&mut self, block: usize, blocks: usize) -> bool {
        let free = block + blocks <= BLOCKS
            && (block..block + blocks).all(|block| self.free[block / 64] >> (block % 64) & 1 == 1);
        if free {
            self.set(block, blocks, false);
            self.free_blocks -= blocks;
        }
        free
    }

    /// The first run of so many free blocks.
    fn find(&self, blocks: usize) -> Option<usize> {
        let (mut block, mut run) = (0, 0);
        while block < BLOCKS {
            let (word, bit) = (self.free[block / 64], block % 64);
            let rest = word >> bit;
            if rest & 1 == 1 {
                let ones = rest.trailing_ones() as usize;
                (run, block) = (run + ones, block + ones);
                if run >= blocks {
                    return Some(block - run);
                }
            } else {
                block += (rest.trailing_zeros() as usize).min(64 - bit);
                run = 0;
            }
        }
        None
    }

    fn give_back(&mut self, block: usize, count: usize) {
        self.set(block, count, true);
        self.free_blocks += count;
        self.longest = BLOCKS; // not known
    }

    fn set(&mut self, block: usize, count: usize, free: bool) {
        let (mut at, end) = (block, block + count);
        while at < end {
            let (bit, n) = (at % 64, (64 - at % 64).min(end - at));
            let mask = (u64::MAX >> (64 - n)) << bit;
            let word = &mut self.free[at / 64];
            debug_assert_eq!(
                *word & mask,
                if free { 0 } else { mask },
                "blocks are taken and given back once"
            );
            *word ^= mask;
            at += n;
        }
    }
}

/// Regions with a place, and places that are to be emptied.
#[cfg(test)]
pub(super) fn places() -> (usize, usize) {
    ARENA.with_borrow(|arena| arena.places.as_ref().map_or((0, 0), |p| (p.taken.len(), p.left.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn a_region_keeps_its_place_until_it_is_unmapped() {
        assert!(attach(10) && !attach(10), "one ring of a thread");
        let all: Vec<Memory> = (0..REGIONS_FREE_MAX + 2).map(|_| Memory::new(REGION_BYTES)).collect();
        let place =
            |m: &Memory, at: usize, bytes| place_of(m.start().wrapping_add(at), bytes, |_, _, _| true);
        let first = place(&all[0], 0, 1).unwrap();
        let again = place_of(all[0].start(), REGION_BYTES, |_, _, _| panic!("it has one"));
        assert_eq!(again, Some(first));
        assert_eq!(place(&all[0], BLOCK_BYTES, REGION_BYTES), None, "beyond its end");
        assert_ne!(place(&all[1], REGION_BYTES - 1, 1).unwrap(), first);
        // Refused once, nobody is asked again until a region is unmapped; and the last one is given up.
        assert_eq!(place_of(all[2].start(), 1, |_, _, _| false), None);
        assert_eq!(place_of(all[2].start(), 1, |_, _, _| panic!("full")), None);
        let elsewhere = std::thread::spawn(|| Memory::new(BLOCK_BYTES)).join().unwrap();
        assert_eq!(place_of(elsewhere.start(), 1, |_, _, _| panic!("not ours")), None);
        assert_eq!(places(), (1, 1));
        empty_places(|_| ());
        assert_eq!(place_of(all[2].start(), 1, |_, _, _| panic!("still full")), None);
        drop(all);
        let (taken, left) = places();
        assert_eq!(taken + left, 1);
        let mut emptied = 0;
        empty_places(|_| emptied += 1);
        assert_eq!((emptied, places()), (left, (taken, 0)));
        detach();
        assert!(attach(0), "another ring");
        let memory = Memory::new(BLOCK_BYTES);
        assert_eq!(place_of(memory.start(), 1, |_, _, _| panic!("no places")), None);
        detach();
    }

    fn regions() -> usize {
        ARENA.with_borrow(|arena| arena.regions.len())
    }

    #[test]
    fn runs_do_not_overlap_and_are_used_again() {
        let mut random = Prng::new(7);
        let mut held: Vec<Memory> = Vec::new();
        for _ in 0..20_000 {
            if held.len() > 40 || (!held.is_empty() && random.below(2) == 0) {
                let at = random.below(held.len() as u64) as usize;
                let memory = held.swap_remove(at);
                let last = memory.start().wrapping_add(memory.capacity() - 1);
                // SAFETY: these bytes are this value's alone, and were written below.
                let first = unsafe { *memory.start() };
                // SAFETY: as above.
                assert_eq!(first, unsafe { *last });
                continue;
            }
            let memory = Memory::new((1 + random.below(300) as usize) * BLOCK_BYTES);
            for at in [0, memory.capacity() - 1] {
                let place = memory.start().wrapping_add(at);
                // SAFETY: within what was just handed out.
                unsafe { place.write(held.len() as u8) };
            }
            let range = |m: &Memory| (m.start().addr(), m.start().addr() + m.capacity());
            let (from, to) = range(&memory);
            assert!(held.iter().map(range).all(|(f, t)| t <= from || to <= f));
            held.push(memory);
        }
        assert!(regions() <= 40 * 300 / BLOCKS + 8, "{} regions", regions());
        held.clear();
        assert!(regions() <= REGIONS_FREE_MAX);
    }

    #[test]
    fn memory_grows_where_it_lies_and_shrinks() {
        let before = in_use();
        let mut first = Memory::new(2 * BLOCK_BYTES);
        assert!(first.extend(4 * BLOCK_BYTES) && first.capacity() == 4 * BLOCK_BYTES);
        let next = Memory::new(BLOCK_BYTES);
        assert_eq!(next.start().addr(), first.start().addr() + 4 * BLOCK_BYTES);
        assert!(!first.extend(5 * BLOCK_BYTES) && first.capacity() == 4 * BLOCK_BYTES);
        first.shrink(BLOCK_BYTES);
        assert_eq!(in_use() - before, 2 * BLOCK_BYTES);
        let between = Memory::new(3 * BLOCK_BYTES);
        assert_eq!(between.start().addr(), first.start().addr() + BLOCK_BYTES);
        drop((first, next, between));
        assert_eq!(in_use(), before);
        let mut all = Memory::new(REGION_BYTES);
        assert!(!all.extend(REGION_BYTES + BLOCK_BYTES));
    }

    #[test]
    fn what_another_thread_drops_comes_back() {
        let all = Memory::new(REGION_BYTES);
        let place = all.start().addr();
        std::thread::spawn(move || drop(all)).join().unwrap();
        assert_eq!(Memory::new(REGION_BYTES).start().addr(), place);
        let outlives = std::thread::spawn(|| Memory::new(BLOCK_BYTES)).join().unwrap();
        // SAFETY: memory of a thread that has ended, still mapped.
        unsafe { outlives.start().write(1) };
    }

    /// What another core had freed was only seen when its region was searched for room: after many consumers hundreds of
    /// megabytes stayed, counted as in use, and the cache gave way to them for good.
    #[test]
    fn what_other_threads_drop_is_counted_and_unmapped_without_a_new_allocation() {
        let mut random = Prng::new(5);
        let before = in_use();
        for round in 0..20 {
            let held: Vec<Memory> =
                (0..200).map(|_| Memory::new((1 + random.below(256) as usize) * BLOCK_BYTES)).collect();
            let (ours, theirs): (Vec<_>, Vec<_>) = held.into_iter().partition(|_| random.below(3) == 0);
            let shares = [theirs.into_iter(), Vec::new().into_iter()];
            std::thread::scope(|scope| {
                for share in shares {
                    scope.spawn(move || share.for_each(drop));
                }
                drop(ours);
                collect();
            });
            assert!(in_use() >= before, "round {round}");
            collect();
            assert_eq!(in_use(), before, "round {round}");
            assert!(regions() <= REGIONS_FREE_MAX, "{} regions", regions());
        }
    }

    #[test]
    fn what_is_larger_than_a_region_is_allocated_alone() {
        let large = Memory::new(REGION_BYTES + BLOCK_BYTES);
        assert!(large.region.is_none() && large.start().addr().is_multiple_of(BLOCK_BYTES));
    }
}
