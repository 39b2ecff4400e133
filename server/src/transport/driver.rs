//! The driver: one task that moves packets between the socket and the connections, and knows when each connection wants the time.

use super::connection::Core;
use super::endpoint::Shared;
use super::socket::{self, Socket};
use crate::limits::{
    QUIC_INCOMING_MAX, RECEIVE_BUSY_PER_S, RECEIVE_INTERVAL, RECEIVE_ROUNDS_MAX, RECEIVE_WINDOW, TRANSMITS_PER_TURN_MAX,
};
use bytes::BytesMut;
use quinn_proto::{ConnectionHandle, DatagramEvent};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

/// Moves packets. Runs until the endpoint is closed, and everybody has gone.
pub(super) struct Driver {
    shared: Rc<Shared>,
    socket: Socket,
    /// When connections want to be called, one entry for each ([`Core::timer`]).
    timers: BTreeSet<(Instant, usize)>,
    /// Packets on their way from a connection to the socket.
    buffer: Vec<u8>,
    /// Connections that had more to say than one turn allows.
    again: Vec<Rc<Core>>,
    pace: Pace,
}

/// How often the socket is read. Many clients acknowledge one by one, and waking up for each costs more than what it says: with much
/// to read, it is left to gather for [`RECEIVE_INTERVAL`].
#[derive(Debug)]
struct Pace {
    /// Packets since `since`.
    packets: u32,
    since: Instant,
    busy: bool,
    /// The socket is not read before.
    not_before: Option<Instant>,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { packets: 0, since: now, busy: false, not_before: None }
    }

    fn may_read(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    /// So many packets were read.
    fn note(&mut self, packets: u32, now: Instant) {
        self.packets = self.packets.saturating_add(packets);
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= RECEIVE_WINDOW {
            self.busy = f64::from(self.packets) > elapsed.as_secs_f64() * RECEIVE_BUSY_PER_S;
            (self.packets, self.since) = (0, now);
        }
        self.not_before = self.busy.then(|| now + RECEIVE_INTERVAL);
    }
}

impl Driver {
    pub(super) fn new(shared: Rc<Shared>, socket: Socket) -> Self {
        let pace = Pace::new(Instant::now());
        Self { shared, socket, timers: BTreeSet::new(), buffer: Vec::new(), again: Vec::new(), pace }
    }

    pub(super) async fn run(mut self) {
        let _stop = crate::stop::StopOnPanic("the QUIC driver");
        let sleep = tokio::time::sleep_until(Instant::now().into());
        let mut sleep = std::pin::pin!(sleep);
        loop {
            let may_read = self.pace.may_read(Instant::now());
            let timer = self.timers.first().map(|(at, _)| *at);
            let due = timer.into_iter().chain(self.pace.not_before.filter(|_| !may_read)).min();
            if let Some(due) = due
                && sleep.deadline() != due.into()
            {
                sleep.as_mut().reset(due.into());
            }
            tokio::select! {
                biased;
                () = self.shared.wake.notified() => {}
                ready = self.socket.ready(), if may_read => {
                    if let Err(error) = ready {
                        tracing::error!(%error, "the UDP socket failed");
                        return;
                    }
                }
                () = &mut sleep, if due.is_some() => {}
            }
            let more = self.turn();
            if self.shared.closed.get() && self.shared.open.get() == 0 && Rc::strong_count(&self.shared) == 1 {
                return;
            }
            // The world and the sessions live on this thread too.
            if more {
                self.shared.wake.notify_one();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Everything that can be done now, bounded. `true`: there may be more.
    fn turn(&mut self) -> bool {
        self.shared.in_turn.set(true);
        self.socket.send_waiting();
        if self.socket.takes_more() {
            for core in std::mem::take(&mut self.again) {
                core.touch();
            }
        }
        let more = self.receive();
        self.expire();
        for (transmit, bytes) in self.shared.responses.take() {
            self.socket.send(transmit, &bytes);
        }
        let now = Instant::now();
        let mut dirty = self.shared.dirty.take();
        for core in dirty.drain(..) {
            core.dirty.set(false);
            self.pump(&core, now);
        }
        self.socket.flush();
        // The list keeps its room.
        let mut late = self.shared.dirty.borrow_mut();
        if late.is_empty() {
            *late = dirty;
        }
        self.shared.in_turn.set(false);
        more || !late.is_empty() || (!self.again.is_empty() && self.socket.takes_more())
    }

    /// Takes packets in. `true`: there may be more.
    fn receive(&mut self) -> bool {
        let now = Instant::now();
        if !self.pace.may_read(now) {
            return false;
        }
        let mut packets = 0;
        let more = self.receive_now(now, &mut packets);
        self.pace.note(packets, now);
        more
    }

    fn receive_now(&mut self, now: Instant, packets: &mut u32) -> bool {
        let shared = Rc::clone(&self.shared);
        for _ in 0..RECEIVE_ROUNDS_MAX {
            let received = self.socket.receive(|packet| {
                for one in packet.bytes.chunks(packet.meta.stride.max(1)) {
                    *packets += 1;
                    take_packet(&shared, now, &packet.meta, BytesMut::from(one));
                }
            });
            match received {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    tracing::warn!(%error, "packets could not be received");
                    return false;
                }
            }
        }
        true
    }

    /// Calls the connections whose time has come. Most have moved on since they were queued, when what they waited for was acknowledged:
    /// these are queued anew, and not looked at.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(&(at, index)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            let Some(core) = self.shared.connections.borrow().get(index).cloned().flatten() else { continue };
            let mut inner = core.inner.borrow_mut();
            let due = inner.proto.poll_timeout();
            if due.is_some_and(|due| due <= now) {
                inner.proto.handle_timeout(now);
                core.timer.set(None);
                drop(inner);
                core.touch();
            } else {
                core.timer.set(due);
                self.timers.extend(due.map(|due| (due, index)));
            }
        }
    }

    /// Lets a connection say what it has to say: to the endpoint, to its handles, to its peer.
    fn pump(&mut self, core: &Rc<Core>, now: Instant) {
        let mut inner = core.inner.borrow_mut();
        let inner = &mut *inner;
        let mut gone = false;
        let mut transmits = 0;
        loop {
            while let Some(event) = inner.proto.poll_endpoint_events() {
                gone |= event.is_drained();
                if let Some(answer) = self.shared.proto.borrow_mut().handle_event(core.handle, event) {
                    inner.proto.handle_event(answer);
                }
            }
            inner.forward_events();
            if transmits >= TRANSMITS_PER_TURN_MAX || !self.socket.takes_more() {
                self.again.push(Rc::clone(core));
                break;
            }
            self.buffer.clear();
            let Some(transmit) = inner.proto.poll_transmit(now, self.socket.segments_max(), &mut self.buffer) else { break };
            transmits += 1;
            let size = transmit.size;
            self.socket.send(transmit, &self.buffer[..size]);
        }
        if gone {
            self.shared.connections.borrow_mut()[core.handle.0] = None;
            if let Some(queued) = core.timer.take() {
                self.timers.remove(&(queued, core.handle.0));
            }
            self.shared.open.set(self.shared.open.get().saturating_sub(1));
            self.shared.left.notify_waiters();
            return;
        }
        // Timers mostly move on: one that fires too early costs less than moving it each time.
        if let Some(due) = inner.proto.poll_timeout()
            && core.timer.get().is_none_or(|queued| due < queued)
        {
            if let Some(queued) = core.timer.replace(Some(due)) {
                self.timers.remove(&(queued, core.handle.0));
            }
            self.timers.insert((due, core.handle.0));
        }
    }
}

/// Routes one packet.
fn take_packet(shared: &Rc<Shared>, now: Instant, meta: &quinn_udp::RecvMeta, bytes: BytesMut) {
    // A forged packet: nobody can be answered there, and the system's refusal would be taken for one of joined packets.
    if meta.addr.port() == 0 {
        return;
    }
    let mut response = Vec::new();
    let routed = shared.proto.borrow_mut().handle(now, meta.addr, meta.dst_ip, socket::ecn(meta), bytes, &mut response);
    match routed {
        Some(DatagramEvent::ConnectionEvent(ConnectionHandle(index), event)) => {
            let Some(core) = shared.connections.borrow().get(index).cloned().flatten() else { return };
            core.inner.borrow_mut().proto.handle_event(event);
            core.touch();
        }
        Some(DatagramEvent::NewConnection(incoming)) => {
            if shared.closed.get() || shared.incoming.borrow().len() >= QUIC_INCOMING_MAX {
                let transmit = shared.proto.borrow_mut().refuse(incoming, &mut response);
                shared.respond(transmit, response);
                return;
            }
            shared.incoming.borrow_mut().push_back(incoming);
            shared.arrived.notify_one();
        }
        Some(DatagramEvent::Response(transmit)) => shared.respond(transmit, response),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn with_much_to_read_the_socket_is_read_at_intervals() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        for ms in 1..40 {
            pace.note(1, at(ms));
            assert!(pace.may_read(at(ms)), "a thousand a second");
        }
        for ms in 40..80 {
            pace.note(20, at(ms));
        }
        assert!(!pace.may_read(at(79)) && pace.may_read(at(80)));
        for ms in 80..120 {
            pace.note(0, at(ms));
        }
        assert!(pace.may_read(at(119)), "and then no more");
    }
}
