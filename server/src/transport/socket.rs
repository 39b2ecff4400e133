//! The UDP socket: packets in and out, many at a time where the system can.

use super::batch::{self, Batch};
use crate::limits::UDP_PACKETS_UNSENT_MAX;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// What the socket takes in one buffer: as many packets of one sender as the system joins.
const RECEIVE_BYTES: usize = 64 * 1024;

/// A packet that was received.
pub(super) struct Received<'a> {
    pub(super) meta: RecvMeta,
    pub(super) bytes: &'a [u8],
}

/// Packets that the system did not take yet.
struct Unsent {
    transmit: Transmit,
    bytes: Vec<u8>,
}

/// A UDP socket.
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    buffers: Vec<u8>,
    /// What leaves with the next [`Socket::flush`].
    batch: Batch,
    unsent: VecDeque<Unsent>,
}

impl Socket {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let io = UdpSocket::from_std(socket)?;
        Ok(Self {
            io,
            state,
            buffers: vec![0; RECEIVE_BYTES * BATCH_SIZE],
            batch: Batch::default(),
            unsent: VecDeque::new(),
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Packets that one transmission may join, for the system to split.
    pub(super) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Whether paths may carry packets in pieces; then their size cannot be found out.
    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Waits until there may be something to read or, if something waits to be sent, until that may be possible.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let interest = if self.unsent.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        self.io.ready(interest).await.map(|_| ())
    }

    /// Hands what has come to `take`, as much as one call to the system brings. `false`: there is nothing more.
    pub(super) fn receive(&mut self, mut take: impl FnMut(Received<'_>)) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let received = {
            let mut buffers = self.buffers.chunks_mut(RECEIVE_BYTES).map(IoSliceMut::new);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), &mut slices, &mut metas))
        };
        match received {
            Ok(count) => {
                for (meta, buffer) in metas.iter().zip(self.buffers.chunks(RECEIVE_BYTES)).take(count) {
                    take(Received { meta: *meta, bytes: &buffer[..meta.len] });
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            // Undefined for QUIC, and anyone can cause it with a forged message.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether connections may say more: what they said before has gone.
    pub(super) fn takes_more(&self) -> bool {
        self.unsent.len() < UDP_PACKETS_UNSENT_MAX
    }

    /// Sends `transmit`, whose bytes these are, with others at the next [`Socket::flush`]; keeps it for later where the system takes nothing
    /// now. Packets may get lost anyway: one that cannot be sent at all is logged by the library and counts as lost.
    pub(super) fn send(&mut self, transmit: Transmit, bytes: &[u8]) {
        // Packets of one connection that were joined for the system to split have a call of their own.
        let joined = transmit.segment_size.is_some();
        if joined || self.batch.is_full() {
            self.flush();
        }
        if !self.unsent.is_empty() || (joined && !self.send_now(&transmit, bytes)) {
            self.unsent.push_back(Unsent { transmit, bytes: bytes.to_vec() });
        } else if !joined {
            self.batch.push(transmit, bytes);
        }
    }

    /// Sends what has gathered.
    pub(super) fn flush(&mut self) {
        let (mut sent, mut refused) = (0, false);
        while sent < self.batch.len() {
            // A single packet is not worth more than a plain call. Where several together are refused, each goes alone: faults are found,
            // and told, so.
            let together = match self.batch.len() - sent {
                _ if refused => Ok(0),
                1 => Ok(0),
                _ => self.io.try_io(Interest::WRITABLE, || batch::send(&self.io, &self.batch, sent)),
            };
            match together {
                Ok(count) if count > 0 => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {
                    refused = true;
                    let (transmit, bytes) = self.batch.packet(sent);
                    if !self.send_now(transmit, bytes) {
                        break;
                    }
                    sent += 1;
                }
            }
        }
        let waiting = self.batch.take_from(sent).map(|(transmit, bytes)| Unsent { transmit, bytes: bytes.to_vec() });
        self.unsent.extend(waiting);
        self.batch.clear();
    }

    /// Sends what the system did not take before, as far as it takes it now.
    pub(super) fn send_waiting(&mut self) {
        while let Some(unsent) = self.unsent.pop_front() {
            if !self.send_now(&unsent.transmit, &unsent.bytes) {
                self.unsent.push_front(unsent);
                return;
            }
        }
    }

    fn send_now(&self, transmit: &Transmit, bytes: &[u8]) -> bool {
        let packet = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.map(|ecn| match ecn {
                EcnCodepoint::Ect0 => quinn_udp::EcnCodepoint::Ect0,
                EcnCodepoint::Ect1 => quinn_udp::EcnCodepoint::Ect1,
                EcnCodepoint::Ce => quinn_udp::EcnCodepoint::Ce,
            }),
            contents: bytes,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), &packet)).is_ok()
    }
}

/// The congestion mark of a received packet.
pub(super) const fn ecn(meta: &RecvMeta) -> Option<EcnCodepoint> {
    match meta.ecn {
        Some(quinn_udp::EcnCodepoint::Ect0) => Some(EcnCodepoint::Ect0),
        Some(quinn_udp::EcnCodepoint::Ect1) => Some(EcnCodepoint::Ect1),
        Some(quinn_udp::EcnCodepoint::Ce) => Some(EcnCodepoint::Ce),
        None => None,
    }
}
