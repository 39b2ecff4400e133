//! Faults: a store that is slow, loses replies, is overtaken by other nodes, or does not know what it did. Every fault is a fault
//! that a real store has: what it says is never false, only late, partial or unknown.

use super::model_store::{Foreign, ModelStore};
use client_protocol::RoomId;
use components::edge::{AppendReply, AppendRequest, AppendThen, Found, ReadRequest, StoreReply};
use std::collections::{BTreeMap, VecDeque};

/// Picks the reads that a fault is for.
type ReadMatch = fn(&ReadRequest) -> bool;

/// A small generator of numbers (splitmix64), so that faults follow from a seed.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What happens to an append. The default: it lands at once and is answered with the next tick.
#[derive(Debug, Clone, Default)]
pub struct AppendFault {
    /// Other nodes write this before it lands.
    pub before: Vec<Foreign>,
    /// It lands so much later, in microseconds.
    pub apply_us: u64,
    /// It never lands: the answer is `Unavailable`.
    pub lost: bool,
    /// Only so many of its events land, then the store is unavailable.
    pub keep: Option<usize>,
    /// Where another node was faster, the answer tells only so many of its events, at least one.
    pub told: Option<usize>,
    /// The answer comes so much after it landed, in microseconds.
    pub reply_us: u64,
    /// The store says `InDoubt` first, so much after it was asked, in microseconds.
    pub in_doubt_us: Option<u64>,
    /// The store stops before it answers: no answer ever (it stays in doubt for ever).
    pub silent: bool,
}

impl AppendFault {
    /// Answered late.
    #[must_use]
    pub fn delayed(reply_us: u64) -> Self {
        Self { reply_us, ..Self::default() }
    }
    /// Nothing lands.
    #[must_use]
    pub fn unavailable() -> Self {
        Self { lost: true, ..Self::default() }
    }
    /// A prefix lands.
    #[must_use]
    pub fn partial(keep: usize) -> Self {
        Self { keep: Some(keep), ..Self::default() }
    }
    /// Another node is faster.
    #[must_use]
    pub fn conflict(before: Vec<Foreign>) -> Self {
        Self { before, ..Self::default() }
    }
    /// In doubt at once, decided after `after_us`.
    #[must_use]
    pub fn in_doubt(after_us: u64, landed: bool) -> Self {
        Self { in_doubt_us: Some(0), reply_us: after_us, lost: !landed, ..Self::default() }
    }
    /// In doubt at once, lands after `after_us` and is answered then.
    #[must_use]
    pub fn late_commit(after_us: u64) -> Self {
        Self { in_doubt_us: Some(0), apply_us: after_us, ..Self::default() }
    }
    /// It lands, and nobody ever hears of it.
    #[must_use]
    pub fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }
}

/// What happens to a read. The default: it is read at once and answered with the next tick.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadFault {
    /// It is read so much later, in microseconds.
    pub read_us: u64,
    /// What was read is answered so much after, in microseconds: by then it may be old.
    pub reply_us: u64,
    /// The store cannot read.
    pub unavailable: bool,
}

impl ReadFault {
    /// Read at once, answered late.
    #[must_use]
    pub fn stale(reply_us: u64) -> Self {
        Self { reply_us, ..Self::default() }
    }
    /// Not read.
    #[must_use]
    pub fn unavailable() -> Self {
        Self { unavailable: true, ..Self::default() }
    }
}

/// Faults by chance, from a seed.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// The source of chance.
    pub rng: Rng,
    /// One append or read in so many has a fault; 0 is never.
    pub one_in: u64,
}

impl Chaos {
    fn append(&mut self) -> AppendFault {
        if self.one_in == 0 || !self.rng.one_in(self.one_in) {
            return AppendFault::delayed(self.rng.below(3) * 1_000);
        }
        // Up to 2.5 s: beyond the time that a request may wait.
        let us = [0, 2_000, 20_000, 300_000, 2_500_000][self.rng.below(5) as usize];
        match self.rng.below(8) {
            0 => AppendFault::delayed(us),
            1 => AppendFault::unavailable(),
            2 => AppendFault::partial(self.rng.below(3) as usize),
            3 => AppendFault::in_doubt(us, true),
            4 => AppendFault::in_doubt(us, false),
            5 => AppendFault::late_commit(us),
            6 => AppendFault { apply_us: us.min(20_000), told: Some(1), ..AppendFault::default() },
            _ => AppendFault { apply_us: us, ..AppendFault::default() },
        }
    }

    fn read(&mut self) -> ReadFault {
        if self.one_in == 0 || !self.rng.one_in(self.one_in) {
            return ReadFault::stale(self.rng.below(2) * 1_000);
        }
        let us = [0, 2_000, 20_000, 300_000, 2_500_000][self.rng.below(5) as usize];
        match self.rng.below(3) {
            0 => ReadFault::stale(us),
            1 => ReadFault { read_us: us, ..ReadFault::default() },
            _ => ReadFault { unavailable: true, reply_us: us, ..ReadFault::default() },
        }
    }
}

#[derive(Debug)]
enum Action {
    Apply(AppendRequest, AppendFault),
    Read(ReadRequest, ReadFault),
    Reply(StoreReply),
}

/// The model store behind a faulty line.
#[derive(Debug, Default)]
pub struct FaultyStore {
    /// The truth.
    pub model: ModelStore,
    /// Faults by chance, where no scripted one is left.
    pub chaos: Option<Chaos>,
    append_faults: BTreeMap<RoomId, VecDeque<AppendFault>>,
    read_faults: VecDeque<(ReadMatch, ReadFault)>,
    actions: BTreeMap<(u64, u64), Action>,
    last: u64,
    /// Appends taken so far.
    pub appends: u64,
    /// The most events, and the most bytes of records, in one append so far.
    pub largest_append: (usize, usize),
}

impl FaultyStore {
    /// The next append to `room` has this fault.
    pub fn fail_append(&mut self, room: RoomId, fault: AppendFault) {
        self.append_faults.entry(room).or_default().push_back(fault);
    }

    /// The next read that matches has this fault.
    pub fn fail_read(&mut self, matches: fn(&ReadRequest) -> bool, fault: ReadFault) {
        self.read_faults.push_back((matches, fault));
    }

    fn at(&mut self, at_us: u64, action: Action) {
        self.last += 1;
        self.actions.insert((at_us, self.last), action);
    }

    /// Takes an append.
    pub fn submit_append(&mut self, now_us: u64, request: AppendRequest) {
        self.appends += 1;
        let bytes = request.records.iter().map(|record| record.bytes.len()).sum();
        let (events, bytes_max) = self.largest_append;
        self.largest_append = (events.max(request.records.len()), bytes_max.max(bytes));
        let scripted = self.append_faults.get_mut(&request.room).and_then(VecDeque::pop_front);
        let fault = scripted.or_else(|| self.chaos.as_mut().map(Chaos::append)).unwrap_or_default();
        if let Some(in_doubt_us) = fault.in_doubt_us {
            let (room, token) = (request.room, request.token);
            let reply = AppendReply { room, token, appended: 0, then: AppendThen::InDoubt };
            self.at(now_us + in_doubt_us, Action::Reply(StoreReply::Append(reply)));
        }
        self.at(now_us + fault.apply_us, Action::Apply(request, fault));
    }

    /// Takes a read.
    pub fn submit_read(&mut self, now_us: u64, request: ReadRequest) {
        let scripted = self.read_faults.iter().position(|(matches, _)| matches(&request));
        let scripted = scripted.and_then(|at| self.read_faults.remove(at)).map(|(_, fault)| fault);
        let fault = scripted.or_else(|| self.chaos.as_mut().map(Chaos::read)).unwrap_or_default();
        self.at(now_us + fault.read_us, Action::Read(request, fault));
    }

    /// Does what is due; answers the replies.
    pub fn run(&mut self, now_us: u64, wall_ms: u64) -> Vec<StoreReply> {
        let mut replies = Vec::new();
        while let Some(entry) = self.actions.first_entry() {
            if entry.key().0 > now_us {
                break;
            }
            match entry.remove() {
                Action::Reply(reply) => replies.push(reply),
                Action::Apply(request, fault) => {
                    let reply = self.apply(&request, &fault, wall_ms);
                    if !fault.silent {
                        self.at(now_us + fault.reply_us, Action::Reply(StoreReply::Append(reply)));
                    }
                }
                Action::Read(request, fault) => {
                    let reply = match fault.unavailable {
                        true => StoreReply::Read(request.token, Found::Unavailable),
                        false => self.model.read(&request),
                    };
                    self.at(now_us + fault.reply_us, Action::Reply(reply));
                }
            }
        }
        replies
    }

    fn apply(&mut self, request: &AppendRequest, fault: &AppendFault, wall_ms: u64) -> AppendReply {
        for foreign in &fault.before {
            self.model.append_foreign(request.room, foreign.clone(), wall_ms);
        }
        if fault.lost {
            return AppendReply { room: request.room, token: request.token, appended: 0, then: AppendThen::Unavailable };
        }
        let mut request = request.clone();
        let all = request.records.len();
        request.records.truncate(fault.keep.unwrap_or(all));
        let mut reply = self.model.append(&request);
        if reply.then == AppendThen::Done && request.records.len() < all {
            reply.then = AppendThen::Unavailable;
        }
        if let (AppendThen::Conflict { log }, Some(told)) = (&mut reply.then, fault.told) {
            log.truncate(told.max(1));
        }
        reply
    }

    /// When something happens next, if anything does.
    #[must_use]
    pub fn next_us(&self) -> Option<u64> {
        self.actions.first_key_value().map(|(key, _)| key.0)
    }

    /// The process that asked is gone: nobody hears replies. What was on its way lands if `late`, else it is lost.
    pub fn crash(&mut self, late: bool) {
        self.actions.retain(|_, action| late && matches!(action, Action::Apply(..)));
        for action in self.actions.values_mut() {
            if let Action::Apply(_, fault) = action {
                fault.silent = true;
            }
        }
    }
}
