//! What a connection has carried.

use std::os::fd::RawFd;

/// Packets and bytes of a connection so far, seen from the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// From the server: UDP datagrams, or TCP segments.
    pub server_packets: u64,
    /// Bytes in them, headers of UDP, TCP and IP not counted.
    pub server_bytes: u64,
    /// To the server.
    pub client_packets: u64,
}

impl Carried {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            server_packets: self.server_packets + other.server_packets,
            server_bytes: self.server_bytes + other.server_bytes,
            client_packets: self.client_packets + other.client_packets,
        }
    }
}

/// A connection, for statistics.
#[derive(Debug, Clone)]
pub enum Wire {
    /// QUIC.
    Quic(quinn::Connection),
    /// TCP: a duplicate of the socket, kept open until the statistics are read for the last time.
    Tcp(std::sync::Arc<std::os::fd::OwnedFd>),
}

impl Wire {
    /// What it has carried; zeros where the system does not say.
    #[must_use]
    pub fn carried(&self) -> Carried {
        match self {
            Self::Quic(connection) => {
                let stats = connection.stats();
                Carried {
                    server_packets: stats.udp_rx.datagrams,
                    server_bytes: stats.udp_rx.bytes,
                    client_packets: stats.udp_tx.datagrams,
                }
            }
            Self::Tcp(socket) => tcp_info(std::os::fd::AsRawFd::as_raw_fd(&**socket)).unwrap_or_default(),
        }
    }
}

/// Where `struct tcp_info` of Linux (include/uapi/linux/tcp.h) has what we want; fields are only ever added at its end.
const BYTES_RECEIVED: usize = 128;
const SEGMENTS_OUT: usize = 136;
const SEGMENTS_IN: usize = 140;
const INFO_BYTES: usize = 144;

fn tcp_info(socket: RawFd) -> Option<Carried> {
    let mut info = [0_u8; INFO_BYTES];
    let mut length = INFO_BYTES as libc::socklen_t;
    // SAFETY: `info` is `length` bytes that live through the call, and the kernel writes at most that many into it; any bytes are a
    // valid `[u8]`.
    let failed =
        unsafe { libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut length) };
    if failed != 0 || (length as usize) < INFO_BYTES {
        return None;
    }
    let u32_at = |at: usize| u64::from(u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]));
    let bytes = info[BYTES_RECEIVED..BYTES_RECEIVED + 8].try_into().map_or(0, u64::from_ne_bytes);
    Some(Carried { server_packets: u32_at(SEGMENTS_IN), server_bytes: bytes, client_packets: u32_at(SEGMENTS_OUT) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    #[test]
    fn the_kernel_counts_segments_and_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let wire = Wire::Tcp(Arc::new(client.try_clone().unwrap().into()));
        let before = wire.carried();
        server.write_all(&[7; 1_000]).unwrap();
        client.read_exact(&mut [0; 1_000]).unwrap();
        let after = wire.carried();
        assert_eq!(after.server_bytes - before.server_bytes, 1_000);
        assert!(after.server_packets > before.server_packets);
    }
}
