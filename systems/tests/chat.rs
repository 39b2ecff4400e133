//! Chat: posts, edits, deletes, reactions, pins.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use client_protocol::Code;
use client_protocol::room::kind;
use systems::testing::Scenario;

#[test]
fn a_post_reaches_every_reader() {
    let mut s = Scenario::new();
    let (alice, bob) = (s.user(1), s.user(2));
    let (a, b) = (s.connect(alice), s.connect(bob));
    let room = s.create(a, kind::GROUP, &[bob]);
    s.subscribe(b, room, 0);
    let request = s.post(a, room, "hello");
    s.run();
    assert_eq!(s.code(request), Code::Ok);
    assert_eq!(s.client(b).texts(room), ["hello"]);
}
