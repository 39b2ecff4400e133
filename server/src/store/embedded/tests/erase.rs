//! What an erase leaves on the disk.

use super::*;

#[tokio::test]
async fn an_erase_leaves_no_byte_after_a_purge() {
    let bench = bench(&EmbeddedOptions::default());
    let ada = UserId::from_bytes([1; 16]);
    let account = Account {
        user: ada,
        username: "qzuser8124".to_owned(),
        email: "qzmail7315@example.org".to_owned(),
        display_name: "Qzname6193 Qzlast2846".to_owned(),
        bio: "qzbio5572".to_owned(),
        avatar_url: "https://example.org/qzface3391.png".to_owned(),
        password_hash: "$argon2id$qzhash9938".to_owned(),
        status: components::rows::account::ACTIVE,
        created_ms: 1,
        updated_ms: 1,
    };
    bench.store.create_account(account).await.unwrap();
    let login = Login {
        login: SessionId::from_bytes([5; 16]),
        user: ada,
        label: "qzlabel4471".to_owned(),
        created_ms: 1,
        used_ms: 1,
        expires_ms: 9_000_000_000_000,
    };
    bench.store.create_login(login, [7; 32]).await.unwrap();
    let text = |text: &str| Body::text(text);
    let post = |body| {
        let file = client_protocol::chat::Attachment {
            id: "qzfile1276".to_owned(),
            name: "qzfile1277".to_owned(),
            mime: "text/plain".to_owned(),
            size: 1,
            tail: EmptyTail {},
        };
        let tail = MessageTail { relation: None, attachments: Some(vec![file]) };
        EventBody::MessagePosted(MessagePosted { body, mentions: Vec::new(), tail })
    };
    let edit = BodyEdited { target: 1, body: text("second qzedit8843"), tail: EmptyTail {} };
    let mut records = vec![
        record(1, 1, post(text("first qzbody4412"))),
        record(2, 2, post(Body { format: 255, bytes: b"qzopaque2208".to_vec() })),
        record(3, 2, EventBody::MessageEdited(edit)),
    ];
    // Messages that stay, so that a block with those that go is indexed.
    records.extend((4..=129).map(|seq| record(seq, seq - 1, posted_text("ebb and flow"))));
    assert_eq!(bench.append(1, records).then, AppendThen::Done);
    wait_until_indexed(&bench.store);
    let words_of_block = || {
        let row = bench.store.shared.tables.view().value(Table::Words, &keys::room_number(ROOM, 0)).unwrap();
        row.map(|row| String::from_utf8_lossy(&row).into_owned()).unwrap_or_default()
    };
    assert!(words_of_block().contains("qzedit8843"));
    let secrets = [
        "qzuser8124",
        "qzmail7315",
        "Qzname6193",
        "qzname6193",
        "qzlast2846",
        "qzbio5572",
        "qzface3391",
        "qzhash9938",
        "qzlabel4471",
        "qzfile1276",
        "qzfile1277",
        "qzbody4412",
        "qzopaque2208",
        "qzedit8843",
    ];
    let folder = bench.folder.path();
    for secret in secrets {
        assert!(!on_disk(folder, secret.as_bytes()).is_empty(), "{secret} was never written: the test would find nothing");
    }
    bench.store.set_account_status(ada, components::rows::account::ERASED, 2).await.unwrap();
    bench.store.erase(ROOM, ada, vec![1, 2, 3], 130).await.unwrap();
    assert!(!words_of_block().contains("qz"));
    wait_until_indexed(&bench.store);
    assert!(words_of_block().contains("flow") && !words_of_block().contains("qz"));
    bench.store.purge().await.unwrap();
    for secret in secrets {
        let left = on_disk(folder, secret.as_bytes());
        assert!(left.is_empty(), "{secret} is still in {left:?}");
    }
    let Bench { store, folder, .. } = bench;
    drop(store);
    let store = EmbeddedStore::open(folder.path(), &EmbeddedOptions::default()).unwrap();
    assert_eq!(store.erasing().await.unwrap()[0].0, ada);
    assert_eq!(store.messages(ROOM, ada, vec![1, 2]).await.unwrap().len(), 2, "the messages have their places");
    for secret in secrets {
        assert!(on_disk(folder.path(), secret.as_bytes()).is_empty(), "{secret} came back");
    }
}
