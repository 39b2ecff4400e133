//! The load process against a small NATS server that is made here: what nobody acknowledges is counted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use starling_bench::control::{LoadResult, Plan, Protocol, Said, SessionPlan};
use starling_bench::load;
use starling_bench::scenario::Scenario;
use std::collections::HashMap;
use std::io::{BufReader, Cursor};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

type Subjects = Arc<Mutex<HashMap<String, Vec<mpsc::UnboundedSender<Vec<u8>>>>>>;

/// How sessions ended that were ended by the client.
type Ends = Arc<Mutex<Vec<std::io::Result<()>>>>;

/// Starts the server in a thread of its own; it forgets the first subscriber of each subject if it is `forgetful`.
fn serve(forgetful: bool) -> (SocketAddr, String, Ends) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (said, address) = std::sync::mpsc::channel();
    let ends = Ends::default();
    let ended = Arc::clone(&ends);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            said.send(listener.local_addr().unwrap()).unwrap();
            let subjects = Subjects::default();
            while let Ok((stream, _)) = listener.accept().await {
                let session = session(acceptor.clone(), stream, Arc::clone(&subjects), forgetful);
                let ended = Arc::clone(&ended);
                tokio::spawn(async move {
                    let end = session.await;
                    ended.lock().unwrap().push(end);
                });
            }
        });
    });
    (address.recv().unwrap(), cert.pem(), ends)
}

async fn session(acceptor: TlsAcceptor, stream: TcpStream, subjects: Subjects, forgetful: bool) -> std::io::Result<()> {
    let (read, mut write) = tokio::io::split(acceptor.accept(stream).await?);
    let (out, mut outs) = mpsc::unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        while let Some(bytes) = outs.recv().await {
            write.write_all(&bytes).await?;
            write.flush().await?;
        }
        std::io::Result::Ok(())
    });
    let say = |text: &str| out.send(text.as_bytes().to_vec()).unwrap();
    say("INFO {\"tls_required\":true}\r\n");
    let mut lines = tokio::io::BufReader::new(read);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).await? == 0 {
            for subscribers in subjects.lock().unwrap().values_mut() {
                subscribers.retain(|subscriber| !subscriber.same_channel(&out));
            }
            return Ok(());
        }
        match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            ["CONNECT", _] => {}
            ["PING"] => say("PONG\r\n"),
            ["SUB", subject, "1"] => subjects.lock().unwrap().entry(subject.to_owned()).or_default().push(out.clone()),
            ["PUB", subject, length] => {
                let mut body = vec![0; length.parse::<usize>().unwrap() + 2];
                lines.read_exact(&mut body).await?;
                let message = [format!("MSG {subject} 1 {length}\r\n").as_bytes(), &body].concat();
                for subscriber in subjects.lock().unwrap()[subject].iter().skip(usize::from(forgetful)) {
                    let _gone = subscriber.send(message.clone());
                }
            }
            _ => panic!("{line:?} was not expected"),
        }
    }
}

/// 2 rooms of 3, 60 sends/s for a second.
fn run(forgetful: bool) -> LoadResult {
    let scenario = Scenario { rooms: 2, members: 3, sends_per_s: 60.0, ..Scenario::many_rooms(0.0) }.timed(0.5, 0.5);
    run_scenario(scenario, forgetful).0
}

fn run_scenario(scenario: Scenario, forgetful: bool) -> (LoadResult, Ends) {
    let (address, ca_pem, ends) = serve(forgetful);
    let session = |index| SessionPlan {
        token: String::new(),
        room: Uuid::from_u128(u128::from(scenario.room_of(index)) + 1),
        watched: Vec::new(),
    };
    let sessions = (0..scenario.sessions()).map(session).collect();
    let plan = Plan { scenario, protocol: Protocol::Nats { address, ca_pem }, sessions, workers: 2 };
    let plan = serde_json::to_string(&plan).unwrap();
    let mut output = Vec::new();
    load::run(&mut BufReader::new(Cursor::new(format!("{plan}\ngo\n"))), &mut output).unwrap();
    match serde_json::from_str(String::from_utf8(output).unwrap().lines().last().unwrap()).unwrap() {
        Said::Done(result) => (*result, ends),
        said => panic!("not done: {said:?}"),
    }
}

#[test]
fn every_member_gets_what_was_sent_to_its_room() {
    let result = run(false);
    assert_eq!((result.sent, result.lost, result.gaps, result.unanswered), (60, 0, 0, 0));
    assert_eq!((result.acked, result.ack), (None, None));
    assert_eq!(result.latency.count(), 90);
    assert!(result.faults.is_empty(), "{:?}", result.faults);
}

#[test]
fn what_a_member_does_not_get_is_lost() {
    let result = run(true);
    // 30 sends a room, of which one member in each of two rooms gets none.
    assert_eq!((result.sent, result.lost), (60, 60));
}

#[test]
fn who_leaves_says_so_and_is_not_torn_off() {
    for resumes in [false, true] {
        let scenario = Scenario { rooms: 2, members: 3, ..Scenario::joins(resumes) }.timed(0.2, 0.6);
        let (result, ends) = run_scenario(scenario, false);
        assert!(result.done > 6 && result.faults.is_empty(), "{} joins, {:?}", result.done, result.faults);
        let ends = ends.lock().unwrap();
        assert!(ends.len() as u64 >= result.done && ends.iter().all(Result::is_ok), "{ends:?}");
    }
}
