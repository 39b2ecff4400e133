//! What may happen in a life. Numbers are taken modulo what there is.

use proptest::prelude::*;

/// What a life is mostly about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// The store answers soon and well.
    Calm,
    /// The store is slow, loses, and does not know.
    Faults,
    /// Another node writes to the same logs.
    OtherNode,
    /// The process dies, rooms leave memory.
    Restarts,
    /// So many nodes on one store, with its faults; clients go from one to another.
    Nodes(usize),
}

/// What a user does in a room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Post,
    Mention(u8),
    Edit(u8),
    Delete(u8),
    React(u8),
    Unreact(u8),
    Pin(u8),
    Unpin(u8),
    Join,
    Leave,
    Add(u8),
    Kick(u8),
    Ban(u8),
    Unban(u8),
    SetRole(u8, u8),
    PostRole(u8),
}

/// How a session subscribes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From {
    Cursor,
    Start,
    Live,
    Ahead,
    OtherEpoch,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Act { who: u8, room: u8, act: Act },
    Rest { who: u8, room: u8, act: Act },
    Retry { which: u8, flag: bool },
    Create { who: u8, kind: u8, member: u8 },
    Subscribe { who: u8, room: u8, from: From },
    Unsubscribe { who: u8, room: u8 },
    Mark { who: u8, room: u8, seq: u8 },
    Block { who: u8, blocked: bool },
    Disconnect { who: u8 },
    Watch { who: u8 },
    Ticks(u8),
    Wait { ms: u16 },
    Foreign { room: u8, who: u8, act: Act },
    ForeignRetry { which: u8 },
    Restart { node: u8, late: bool },
    Revoke { who: u8 },
    Clock { node: u8, back: bool, ms: u16 },
}

fn act() -> impl Strategy<Value = Act> {
    let n = any::<u8>;
    prop_oneof![
        8 => Just(Act::Post),
        2 => n().prop_map(Act::Mention),
        2 => n().prop_map(Act::Edit),
        2 => n().prop_map(Act::Delete),
        1 => n().prop_map(Act::React),
        1 => n().prop_map(Act::Unreact),
        1 => n().prop_map(Act::Pin),
        1 => n().prop_map(Act::Unpin),
        3 => Just(Act::Join),
        2 => Just(Act::Leave),
        2 => n().prop_map(Act::Add),
        2 => n().prop_map(Act::Kick),
        1 => n().prop_map(Act::Ban),
        1 => n().prop_map(Act::Unban),
        1 => (n(), 1..=4u8).prop_map(|(who, role)| Act::SetRole(who, role)),
        1 => (1..=3u8).prop_map(Act::PostRole),
    ]
}

fn op(flavour: Flavour) -> impl Strategy<Value = Op> {
    let n = any::<u8>;
    let from = prop_oneof![
        6 => Just(From::Cursor),
        2 => Just(From::Start),
        2 => Just(From::Live),
        1 => Just(From::Ahead),
        1 => Just(From::OtherEpoch),
    ];
    let (other, restart) = match flavour {
        Flavour::Calm | Flavour::Faults => (0, 0),
        Flavour::OtherNode => (12, 1),
        Flavour::Restarts => (2, 4),
        Flavour::Nodes(_) => (1, 1),
    };
    let wait = match flavour {
        Flavour::Restarts => 3_000u16,
        _ => 400,
    };
    let mut choices: Vec<(u32, BoxedStrategy<Op>)> = vec![
        (24, (n(), n(), act()).prop_map(|(who, room, act)| Op::Act { who, room, act }).boxed()),
        (3, (n(), n(), act()).prop_map(|(who, room, act)| Op::Rest { who, room, act }).boxed()),
        (5, (n(), any::<bool>()).prop_map(|(which, flag)| Op::Retry { which, flag }).boxed()),
        (2, (n(), 1..=3u8, n()).prop_map(|(who, kind, member)| Op::Create { who, kind, member }).boxed()),
        (10, (n(), n(), from).prop_map(|(who, room, from)| Op::Subscribe { who, room, from }).boxed()),
        (1, (n(), n()).prop_map(|(who, room)| Op::Unsubscribe { who, room }).boxed()),
        (4, (n(), n(), n()).prop_map(|(who, room, seq)| Op::Mark { who, room, seq }).boxed()),
        (5, (n(), any::<bool>()).prop_map(|(who, blocked)| Op::Block { who, blocked }).boxed()),
        (3, n().prop_map(|who| Op::Disconnect { who }).boxed()),
        (1, n().prop_map(|who| Op::Watch { who }).boxed()),
        (1, n().prop_map(|who| Op::Revoke { who }).boxed()),
        (1, (n(), any::<bool>(), 0..5_000u16).prop_map(|(node, back, ms)| Op::Clock { node, back, ms }).boxed()),
        (16, (1..6u8).prop_map(Op::Ticks).boxed()),
        (5, (1..wait).prop_map(|ms| Op::Wait { ms }).boxed()),
    ];
    if other > 0 {
        let foreign = (n(), n(), act()).prop_map(|(room, who, act)| Op::Foreign { room, who, act });
        choices.push((other, foreign.boxed()));
        choices.push((3, n().prop_map(|which| Op::ForeignRetry { which }).boxed()));
        choices.push((restart, (n(), any::<bool>()).prop_map(|(node, late)| Op::Restart { node, late }).boxed()));
    }
    proptest::strategy::Union::new_weighted(choices)
}

/// A life: 20 to 60 things that happen.
pub(crate) fn ops(flavour: Flavour) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(flavour), 20..60)
}
