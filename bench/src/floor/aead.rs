//! The least that a packet a delivery costs: one AES-128-GCM seal of the message and one `sendmsg` to a UDP socket on loopback. Open
//! loop, one thread, nobody reads: what the socket cannot keep is dropped by the kernel, behind the system call that is measured.

use crate::control::{LoadResult, Said};
use crate::error::BenchError;
use crate::limits::START_DELAY;
use crate::load::meter::Clock;
use crate::load::stamp;
use crate::scenario::Scenario;
use crate::schedule::{Due, Schedule};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use socket2::{MsgHdr, SockAddr, Socket};
use std::io::IoSlice;
use std::net::{Ipv4Addr, UdpSocket};

/// Bytes in front of what is sealed, in the clear but authenticated: as long as a short header of QUIC and its frame's head.
const HEADER_BYTES: usize = 16;

struct Sender {
    key: LessSafeKey,
    socket: Socket,
    sink: SockAddr,
    // Kept open, so that what is sent has somewhere to go.
    _receiver: UdpSocket,
    packet: Vec<u8>,
    count: u64,
}

impl Sender {
    fn new() -> Result<Self, BenchError> {
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).map_err(|error| BenchError::Load(error.to_string()))?;
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(BenchError::io("a UDP socket"))?;
        let sink = receiver.local_addr().map_err(BenchError::io("a UDP socket"))?.into();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(BenchError::io("a UDP socket"))?.into();
        Ok(Self { key: LessSafeKey::new(key), socket, sink, _receiver: receiver, packet: Vec::new(), count: 0 })
    }

    /// Seals `body` and sends it.
    fn deliver(&mut self, body: &[u8]) -> Result<(), BenchError> {
        self.count += 1;
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&self.count.to_le_bytes());
        let header = [0; HEADER_BYTES];
        self.packet.clear();
        self.packet.extend_from_slice(body);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut self.packet)
            .map_err(|error| BenchError::Load(format!("sealing: {error}")))?;
        let buffers = [IoSlice::new(&header), IoSlice::new(&self.packet)];
        let message = MsgHdr::new().with_addr(&self.sink).with_buffers(&buffers);
        self.socket.sendmsg(&message, 0).map_err(BenchError::io("sending"))?;
        Ok(())
    }
}

/// Delivers what `scenario` asks for, and says when the measurement begins and ends.
///
/// # Errors
///
/// [`BenchError`] where the system refuses.
pub fn work(scenario: &Scenario, mut say: impl FnMut(Said) -> Result<(), BenchError>) -> Result<LoadResult, BenchError> {
    let clock = Clock::default();
    let start_ns = clock.now_ns() + START_DELAY.as_nanos() as u64;
    let from_ns = start_ns + (scenario.warmup_s * 1e9) as u64;
    let to_ns = from_ns + (scenario.measure_s * 1e9) as u64;
    let mut sender = Sender::new()?;
    let mut result = LoadResult::default();
    let mut schedule =
        Schedule::new(start_ns, scenario.sends_per_s, scenario.warmup_s + scenario.measure_s, scenario.sender_count());
    let mut next = schedule.next();
    // Until a time, whatever is due then still: a floor that falls behind has achieved less.
    let mut until = |sender: &mut Sender, until_ns: u64, result: &mut LoadResult| {
        while let Some(Due { at_ns, .. }) = next.filter(|due| due.at_ns < until_ns && clock.now_ns() < until_ns) {
            if let Some(wait) = clock.until(at_ns) {
                std::thread::sleep(wait);
            }
            result.lag.record_ns(clock.now_ns().saturating_sub(at_ns));
            let body = stamp::body(at_ns, scenario.body_bytes);
            for _ in 0..scenario.receivers() {
                sender.deliver(&body)?;
            }
            result.sent += 1;
            next = schedule.next();
        }
        if let Some(wait) = clock.until(until_ns) {
            std::thread::sleep(wait);
        }
        Ok::<_, BenchError>((clock.now_ns(), sender.count))
    };
    let (began_ns, before) = until(&mut sender, from_ns, &mut result)?;
    say(Said::Measuring)?;
    result.lag = crate::histogram::Latencies::default();
    let (ended_ns, after) = until(&mut sender, to_ns, &mut result)?;
    say(Said::Measured)?;
    result.measured_ns = ended_ns - began_ns;
    result.deliveries = after - before;
    result.server_packets = result.deliveries;
    Ok(result)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_delivery_is_sealed_and_sent_at_its_time() {
        let scenario = Scenario { members: 5, sends_per_s: 100.0, ..Scenario::one_room(0.0) }.timed(0.1, 0.2);
        let mut said = Vec::new();
        let result = work(&scenario, |what| {
            said.push(what);
            Ok(())
        })
        .unwrap();
        assert_eq!(said, [Said::Measuring, Said::Measured]);
        assert!((90..=110).contains(&result.deliveries), "{}", result.deliveries);
        assert!(result.measured_ns >= 199_000_000);
    }

    #[test]
    fn what_arrives_is_the_header_the_sealed_body_and_the_tag() {
        let mut sender = Sender::new().unwrap();
        sender.deliver(&[b'x'; 128]).unwrap();
        let mut packet = [0; 2_048];
        let length = sender._receiver.recv(&mut packet).unwrap();
        assert_eq!(length, HEADER_BYTES + 128 + AES_128_GCM.tag_len());
        assert_ne!(packet[HEADER_BYTES..HEADER_BYTES + 128], [b'x'; 128]);
    }
}
