//! Allocations: handing a room's events to its readers allocates for the room, not for the readers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::room::{LIVE, kind};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use systems::testing::{EPOCH, Scenario, commands};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends may have lost its counter.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

/// Allocations of this thread so far.
fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as for this call.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for this call.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for this call.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the core in the tick that delivers one post to this many readers.
fn allocations_with(readers: usize) -> u64 {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    for _ in 0..readers {
        let reader = s.connect(alice);
        s.send(reader, commands::subscribe(room, EPOCH, LIVE));
    }
    s.advance(2_000);
    let mut fewest = u64::MAX;
    // The first rounds warm up: buffers grow once and change hands.
    for _ in 0..8 {
        s.post(a, room, "warm");
        s.tick();
        s.run_store();
        let before = allocations();
        let sent = s.step_only();
        let used = allocations() - before;
        assert_eq!(sent, readers);
        fewest = fewest.min(used);
        s.take_outputs();
        s.advance(2_000);
    }
    fewest
}

#[test]
fn a_flush_allocates_for_the_room_not_for_its_readers() {
    let (few, many) = (allocations_with(1), allocations_with(200));
    assert!(many <= few + 4, "{few} for one reader, {many} for 200");
    assert!(few < 200, "{few} for a tick with one delivery");
}

#[test]
fn a_tick_without_work_allocates_nothing() {
    let mut s = Scenario::new();
    let alice = s.user(1);
    let a = s.connect(alice);
    let room = s.create(a, kind::GROUP, &[]);
    s.subscribe(a, room, LIVE);
    s.advance(100_000);
    s.step_only();
    let before = allocations();
    s.step_only();
    assert_eq!(allocations() - before, 0);
}
