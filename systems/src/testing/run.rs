//! Time of a scenario: ticks, rest, crashes; what comes out of a tick goes to the store and the clients.

use super::scenario::{Scenario, TICK_US};
use crate::core::{Core, Inputs, Outputs};
use client_protocol::frame::LENGTH_BYTES;
use client_protocol::{CloseCode, Frame, ServerFrame};
use components::edge::{Control, SessionHandle, Slot};
use components::limits::{SLOT_CHUNKS_PER_SESSION_MAX, SLOT_SENDS_MAX};

/// Ticks after which a scenario that should have come to rest has failed.
pub(super) const TICKS_MAX: u32 = 200_000;

impl Scenario {
    /// One tick, at the time that it is; then it is a tick later.
    pub fn tick(&mut self) {
        self.run_store();
        self.step_only();
        self.take_outputs();
    }

    /// The store does what is due; its replies are for the next tick.
    pub fn run_store(&mut self) {
        let replies = self.store.run(self.now.mono_us, self.now.wall_ms);
        self.inputs.store.extend(replies);
    }

    /// Only the core's part of a tick, for those who measure it; answers its sends of events.
    pub fn step_only(&mut self) -> usize {
        self.ticks += 1;
        self.next_due_us = self.core.step(self.now, &mut self.inputs, &mut self.outputs);
        self.inputs.queue_wait_us = 0;
        self.outputs.slot.events_sent
    }

    /// The rest of a tick: what came out goes to the store and the clients, and time passes.
    pub fn take_outputs(&mut self) {
        let outputs = &mut self.outputs;
        for request in outputs.appends.drain(..) {
            self.store.submit_append(self.now.mono_us, request);
        }
        for request in outputs.reads.drain(..) {
            self.store.submit_read(self.now.mono_us, request);
        }
        for (room, seq) in outputs.levels.drain(..) {
            self.store.model.level(room, seq);
        }
        self.notices.append(&mut outputs.notices);
        let mut slot = std::mem::take(&mut outputs.slot);
        self.hand_over(&mut slot);
        slot.frames.clear();
        slot.events_sent = 0;
        self.outputs.slot = slot;
        self.pass(TICK_US);
    }

    pub(super) fn pass(&mut self, us: u64) {
        let before = self.now.mono_us;
        self.now.mono_us += us;
        self.now.wall_ms += self.now.mono_us / 1_000 - before / 1_000;
    }

    fn hand_over(&mut self, slot: &mut Slot) {
        // One session may be in the middle of its chunks, and told of an end, when the bound is reached.
        assert!(slot.events_sent <= SLOT_SENDS_MAX + SLOT_CHUNKS_PER_SESSION_MAX + 1, "{} sends", slot.events_sent);
        self.last_sends = slot.events_sent;
        for (session, frame) in slot.sends.drain(..) {
            let bytes = &slot.frames[frame as usize];
            self.record(&(session, 0u8), bytes);
            if let Some(client) = self.by_handle.get(&session).map(|id| &mut self.clients[id.0]).filter(|c| c.connected) {
                let frame = Frame::parse(bytes.slice(LENGTH_BYTES..)).expect("a frame");
                client.take(ServerFrame::decode(&frame).expect("a frame"), &self.store.model, self.now.mono_us);
            }
        }
        for (session, frame) in slot.datagrams.drain(..) {
            let bytes = &slot.frames[frame as usize];
            self.record(&(session, 1u8), bytes);
            if let Some(client) = self.by_handle.get(&session).map(|id| &mut self.clients[id.0]).filter(|c| c.connected) {
                let frame = Frame::parse(bytes.clone()).expect("a datagram");
                client.datagrams.push(ServerFrame::decode(&frame).expect("a datagram"));
            }
        }
        for (token, reply) in slot.rest.drain(..) {
            self.record(&(token, 2u8), &client_protocol::codec::encode(&reply));
            assert!(self.rest.insert(token, reply).is_none(), "one answer for a REST request");
        }
        let closes: Vec<_> = slot.closes.drain(..).collect();
        for (session, code) in closes {
            self.record(&(session, 3u8), &(code as u32).to_le_bytes());
            self.closed(session, code);
        }
    }

    fn closed(&mut self, session: SessionHandle, code: CloseCode) {
        let Some(client) = self.by_handle.get(&session).map(|id| &mut self.clients[id.0]) else { return };
        if client.connected {
            client.connected = false;
            client.closed = Some(code);
            self.control(Control::Closed { session });
        }
    }

    fn record(&mut self, what: &impl std::fmt::Debug, bytes: &[u8]) {
        if let Some(transcript) = &mut self.transcript {
            transcript.extend_from_slice(format!("{} {what:?} ", self.now.mono_us).as_bytes());
            transcript.extend_from_slice(bytes);
        }
    }

    /// Whether something would happen by itself at the time that it is.
    pub(super) fn has_work(&self) -> bool {
        let inputs = &self.inputs;
        !(inputs.commands.is_empty() && inputs.control.is_empty() && inputs.store.is_empty())
            || self.store.next_us().is_some_and(|due_us| due_us <= self.now.mono_us)
            || self.next_due_us.is_some_and(|due_us| due_us <= self.now.mono_us)
    }

    /// Ticks until nothing is under way: no input, no store request, nothing due now. Timers that are set for later are left.
    pub fn run(&mut self) {
        for _ in 0..TICKS_MAX {
            if self.has_work() {
                self.tick();
            } else if let Some(due_us) = self.store.next_us() {
                let timer_us = self.next_due_us.unwrap_or(u64::MAX);
                self.pass(due_us.min(timer_us).saturating_sub(self.now.mono_us).max(1));
            } else {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Lets time pass, with a tick whenever something is due.
    pub fn advance(&mut self, ms: u64) {
        let until_us = self.now.mono_us + ms * 1_000;
        for _ in 0..TICKS_MAX {
            if self.now.mono_us >= until_us {
                return;
            }
            if self.has_work() {
                self.tick();
                continue;
            }
            let due_us = [self.store.next_us(), self.next_due_us].into_iter().flatten().min().unwrap_or(until_us);
            self.pass(due_us.clamp(self.now.mono_us + 1, until_us) - self.now.mono_us);
        }
        panic!("the world does not come to rest");
    }

    /// The process dies and a new one starts on the same store. Clients see their connections lost; appends that were on their way
    /// land if `late`, else they are lost.
    pub fn restart(&mut self, late: bool) {
        self.store.crash(late);
        self.core = Core::new(self.node.clone(), self.setup);
        self.inputs = Inputs::default();
        self.outputs = Outputs::default();
        self.next_due_us = None;
        for client in &mut self.clients {
            client.connected = false;
        }
    }

    /// As after a start: the world is told of every room whose followers may not have finished.
    pub fn sweep(&mut self) {
        for room in self.store.model.dirty_rooms() {
            self.control(Control::Sweep { room });
        }
    }
}
