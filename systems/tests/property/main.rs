//! The promises, tried on random lives of a world: users in rooms, connections that come and go, readers that block, evictions,
//! restarts, a store with every fault that stores have, another node that writes to the same logs, and two or three
//! worlds on one store.
//!
//! `STARLING_PROPERTY_CASES` says how many lives in all (default 10,000), and `PROPTEST_RNG_SEED` which ones (default in
//! `.cargo/config.toml`). Each is lived twice and must give the same bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checks;
mod life;
mod ops;
mod reference;

use ops::{Act, Flavour, From, Op, ops};
use proptest::prelude::*;

fn config(share: u32) -> ProptestConfig {
    let cases = std::env::var("STARLING_PROPERTY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(10_000);
    ProptestConfig { cases: (cases * share / 100).max(1), max_shrink_iters: 4_000, ..ProptestConfig::default() }
}

fn live_twice(seed: u64, flavour: Flavour, ops: &[Op]) {
    let first = life::live(seed, flavour, ops);
    let second = life::live(seed, flavour, ops);
    assert!(first == second, "P9: the same inputs give the same bytes");
}

proptest! {
    #![proptest_config(config(20))]
    #[test]
    fn with_a_calm_store(seed: u64, ops in ops(Flavour::Calm)) {
        live_twice(seed, Flavour::Calm, &ops);
    }
}

proptest! {
    #![proptest_config(config(26))]
    #[test]
    fn with_a_faulty_store(seed: u64, ops in ops(Flavour::Faults)) {
        live_twice(seed, Flavour::Faults, &ops);
    }
}

proptest! {
    #![proptest_config(config(18))]
    #[test]
    fn with_another_node(seed: u64, ops in ops(Flavour::OtherNode)) {
        live_twice(seed, Flavour::OtherNode, &ops);
    }
}

proptest! {
    #![proptest_config(config(24))]
    #[test]
    fn with_restarts_and_evictions(seed: u64, ops in ops(Flavour::Restarts)) {
        live_twice(seed, Flavour::Restarts, &ops);
    }
}

proptest! {
    #![proptest_config(config(8))]
    #[test]
    fn with_two_nodes(seed: u64, ops in ops(Flavour::Nodes(2))) {
        live_twice(seed, Flavour::Nodes(2), &ops);
    }
}

proptest! {
    #![proptest_config(config(4))]
    #[test]
    fn with_three_nodes(seed: u64, ops in ops(Flavour::Nodes(3))) {
        live_twice(seed, Flavour::Nodes(3), &ops);
    }
}

/// The other node made a member the owner, who may post there now: this one knows of neither, and refuses.
#[test]
fn a_node_that_takes_the_store_for_its_own_refuses_on_what_it_knows() {
    let ops = [
        Op::Subscribe { who: 1, room: 0, from: From::Cursor },
        Op::Act { who: 0, room: 0, act: Act::PostRole(3) },
        Op::Wait { ms: 100 },
        Op::Foreign { room: 0, who: 0, act: Act::SetRole(1, 4) },
        Op::Foreign { room: 0, who: 0, act: Act::Leave },
    ];
    live_twice(1, Flavour::OtherNode, &ops);
    live_twice(1, Flavour::Restarts, &ops);
}
