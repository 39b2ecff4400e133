//! A TCP proxy between a store and its database that understands where messages begin and end, and does to some of them what networks
//! do: cut the connection before a command or before its reply, hold either back, let a command arrive long after its sender has given
//! up. It can also answer a find with nothing, as a majority read does that does not see yet what is there.

use mongodb::bson::{doc, serialize_to_vec};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

/// What is done to a command.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection is cut; the command never arrives.
    CutBefore,
    /// The command arrives, its reply does not.
    CutAfter,
    /// The command arrives after this time, whether its sender still waits or not.
    Late(Duration),
    /// The command arrives when this is notified, whether its sender still waits or not.
    Held(Arc<Notify>),
    /// The reply comes after this time.
    LateReply(Duration),
    /// A find that finds nothing, whatever there is.
    FindsNothing,
}

/// Chooses what is done to a command on a collection.
pub(crate) type Rule = Box<dyn FnMut(&str, &str) -> Option<Fault> + Send>;

/// See the module.
pub(crate) struct Proxy {
    address: SocketAddr,
    rule: Arc<Mutex<Rule>>,
}

const COMMANDS: [&str; 5] = ["insert", "update", "find", "delete", "findAndModify"];
const OP_MSG: u32 = 2_013;

impl Proxy {
    /// A proxy in front of a server. It lets everything through.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_, _| None)));
        let rules = Arc::clone(&rule);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                tokio::spawn(carry(client, server, Arc::clone(&rules)));
            }
        });
        Self { address, rule }
    }

    /// The URI of a database behind the proxy.
    pub(crate) fn uri(&self, database: &str) -> String {
        format!("mongodb://{}/{database}?directConnection=true", self.address)
    }

    /// From now on this rule holds.
    pub(crate) fn rule(&self, rule: impl FnMut(&str, &str) -> Option<Fault> + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// Does this to the next `times` such commands.
    pub(crate) fn next(&self, command: &'static str, collection: &'static str, times: usize, fault: Fault) {
        let mut left = times;
        self.rule(move |said, on| {
            let hit = said == command && on == collection && left > 0;
            left -= usize::from(hit);
            hit.then(|| fault.clone())
        });
    }

    /// Lets everything through.
    pub(crate) fn heal(&self) {
        self.rule(|_, _| None);
    }
}

/// Reads one message.
async fn read(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_le_bytes(message[..4].try_into().unwrap()) as usize;
    message.resize(length, 0);
    from.read_exact(&mut message[4..]).await.ok()?;
    Some(message)
}

fn number(message: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(message[at..at + 4].try_into().unwrap())
}

/// The command of a message and the collection that it is on: the first element of its body.
fn command(message: &[u8]) -> Option<(&str, &str)> {
    if number(message, 12) != OP_MSG {
        return None;
    }
    // Header, flags, kind of the section, length of the document, type of the element: a text.
    let element = message.get(16 + 4 + 1 + 4..)?;
    let (&0x02, rest) = element.split_first()? else { return None };
    let name = std::ffi::CStr::from_bytes_until_nul(rest).ok()?.to_str().ok()?;
    let value = rest.get(name.len() + 1 + 4..)?;
    let value = std::ffi::CStr::from_bytes_until_nul(value).ok()?.to_str().ok()?;
    COMMANDS.contains(&name).then_some((name, value))
}

/// The reply of a find that found nothing.
fn nothing(request: &[u8], collection: &str) -> Vec<u8> {
    let cursor = doc! { "firstBatch": [], "id": 0_i64, "ns": format!("any.{collection}") };
    let body = serialize_to_vec(&doc! { "cursor": cursor, "ok": 1.0 }).unwrap();
    let mut message = Vec::new();
    message.extend((16 + 4 + 1 + body.len() as u32).to_le_bytes());
    message.extend(0_u32.to_le_bytes());
    message.extend(number(request, 4).to_le_bytes());
    message.extend(OP_MSG.to_le_bytes());
    message.extend(0_u32.to_le_bytes());
    message.push(0);
    message.extend(body);
    message
}

/// What the reply side is told.
enum Reply {
    /// The connection ends with the reply to this request.
    Cut(u32),
    /// The reply to this request comes late.
    Late(u32, Duration),
    /// This is said as well.
    Forged(Vec<u8>),
}

async fn carry(client: TcpStream, server: TcpStream, rule: Arc<Mutex<Rule>>) {
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let (tell, told) = mpsc::unbounded_channel();
    let replies = tokio::spawn(carry_replies(from_server, to_client, told));
    while let Some(message) = read(&mut from_client).await {
        let (fault, collection) = match command(&message) {
            Some((command, collection)) => ((rule.lock().unwrap())(command, collection), collection.to_owned()),
            None => (None, String::new()),
        };
        let id = number(&message, 4);
        match fault {
            None => {}
            Some(Fault::CutBefore) => {
                replies.abort();
                return;
            }
            Some(Fault::CutAfter) => {
                let _gone = tell.send(Reply::Cut(id));
            }
            Some(Fault::Late(time)) => tokio::time::sleep(time).await,
            Some(Fault::Held(until)) => until.notified().await,
            Some(Fault::LateReply(time)) => {
                let _gone = tell.send(Reply::Late(id, time));
            }
            Some(Fault::FindsNothing) => {
                let _gone = tell.send(Reply::Forged(nothing(&message, &collection)));
                continue;
            }
        }
        if to_server.write_all(&message).await.is_err() {
            break;
        }
    }
    // The server must get what was sent to it, though nobody listens any more.
    tokio::time::sleep(Duration::from_millis(500)).await;
    replies.abort();
}

async fn carry_replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut told: mpsc::UnboundedReceiver<Reply>) {
    let (mut cut, mut late) = (None, None);
    loop {
        let message = tokio::select! {
            biased;
            Some(reply) = told.recv() => match reply {
                Reply::Cut(id) => { cut = Some(id); continue }
                Reply::Late(id, time) => { late = Some((id, time)); continue }
                Reply::Forged(message) => message,
            },
            message = read(&mut from) => match message { Some(message) => message, None => return },
        };
        let answers = number(&message, 8);
        if cut == Some(answers) {
            return;
        }
        if let Some((id, time)) = late
            && id == answers
        {
            tokio::time::sleep(time).await;
        }
        if to.write_all(&message).await.is_err() {
            // Go on reading: the server must not be held up.
            continue;
        }
    }
}
