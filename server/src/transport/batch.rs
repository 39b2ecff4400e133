//! Packets of several connections that leave together: in one call where the system can take them so, which is sendmmsg(2) of Linux.

use crate::limits::UDP_PACKETS_BATCH_MAX;
use quinn_proto::Transmit;

/// Packets that are sent together, in order.
#[derive(Default)]
pub(super) struct Batch {
    packets: Vec<Packet>,
    bytes: Vec<u8>,
}

struct Packet {
    transmit: Transmit,
    /// Where its bytes start.
    start: usize,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.packets.len() >= UDP_PACKETS_BATCH_MAX
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Adds a packet, whose bytes these are.
    pub(super) fn push(&mut self, transmit: Transmit, bytes: &[u8]) {
        self.packets.push(Packet { transmit, start: self.bytes.len() });
        self.bytes.extend_from_slice(bytes);
    }

    /// A packet and its bytes.
    pub(super) fn packet(&self, index: usize) -> (&Transmit, &[u8]) {
        let Packet { transmit, start } = &self.packets[index];
        (transmit, &self.bytes[*start..start + transmit.size])
    }

    /// The packets from `first` on, which are taken out, with their bytes.
    pub(super) fn take_from(&mut self, first: usize) -> impl Iterator<Item = (Transmit, &[u8])> {
        let bytes = &self.bytes;
        self.packets.drain(first..).map(|Packet { transmit, start }| {
            let size = transmit.size;
            (transmit, &bytes[start..start + size])
        })
    }

    /// Removes all packets, and keeps the room that they had.
    pub(super) fn clear(&mut self) {
        self.packets.clear();
        self.bytes.clear();
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::send;

/// No system but Linux takes several packets in one call.
///
/// # Errors
///
/// Always: packets are to be sent one by one.
#[cfg(not(target_os = "linux"))]
pub(super) fn send(_: &tokio::net::UdpSocket, _: &Batch, _: usize) -> std::io::Result<usize> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Batch;
    use quinn_proto::Transmit;
    use socket2::SockAddr;
    use std::io;
    use std::mem::{size_of, zeroed};
    use std::net::IpAddr;
    use std::os::fd::AsRawFd;

    /// Sends the packets from `first` on. Returns how many the system took, one at least.
    ///
    /// # Errors
    ///
    /// What sendmmsg(2) says of the first one. [`io::ErrorKind::WouldBlock`]: it takes nothing now.
    pub(in super::super) fn send(socket: &tokio::net::UdpSocket, batch: &Batch, first: usize) -> io::Result<usize> {
        let mut parts: Vec<Parts> = batch.packets[first..].iter().map(|packet| Parts::of(&packet.transmit)).collect();
        let mut vectors = Vec::with_capacity(parts.len());
        let mut headers = Vec::with_capacity(parts.len());
        for index in first..batch.len() {
            let (_, bytes) = batch.packet(index);
            vectors.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        }
        for (parts, vector) in parts.iter_mut().zip(&mut vectors) {
            // SAFETY: plain numbers and pointers, for all of which zero is a value.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = parts.to.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = parts.to.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = parts.control.bytes.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = parts.control.length as _;
            headers.push(header);
        }
        // SAFETY: every header points at an address, a vector and control messages in `parts` and `vectors`, which outlive the call and are
        // not moved after the pointers were taken; each vector covers bytes of the batch, which is borrowed. The lengths are those of
        // what is pointed at, and control messages are aligned as `cmsghdr`. The system reads all of that and writes `msg_len` of headers only, which are ours and mutable.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as _, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// What a header points at, beside the packet.
    struct Parts {
        to: SockAddr,
        control: Control,
    }

    impl Parts {
        fn of(transmit: &Transmit) -> Self {
            Self { to: SockAddr::from(transmit.destination), control: Control::of(transmit) }
        }
    }

    /// The control messages of a packet, as cmsg(3) lays them out: length with header, level, type, data, filled up to a word.
    #[repr(C, align(8))]
    pub(super) struct Control {
        bytes: [u8; CONTROL_BYTES],
        length: usize,
    }

    /// What both messages take at most, for IPv6 on 64 bits.
    const CONTROL_BYTES: usize = 64;

    impl Control {
        fn of(transmit: &Transmit) -> Self {
            let mut control = Self { bytes: [0; CONTROL_BYTES], length: 0 };
            let mark = transmit.ecn.map_or(0, |ecn| ecn as i32).to_ne_bytes();
            match transmit.destination.ip().to_canonical() {
                IpAddr::V4(_) => control.push(libc::IPPROTO_IP, libc::IP_TOS, &mark),
                IpAddr::V6(_) => control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &mark),
            }
            match transmit.src_ip {
                // `in_pktinfo`: any interface, the source address, and one that only receivers see.
                Some(IpAddr::V4(ip)) => {
                    let mut info = [0; 12];
                    info[4..8].copy_from_slice(&ip.octets());
                    control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
                }
                // `in6_pktinfo`: the source address, any interface.
                Some(IpAddr::V6(ip)) => {
                    let mut info = [0; 20];
                    info[..16].copy_from_slice(&ip.octets());
                    control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
                }
                None => {}
            }
            control
        }

        fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
            const WORD: usize = size_of::<usize>();
            let length = WORD + 8 + data.len();
            let message = &mut self.bytes[self.length..][..length];
            message[..WORD].copy_from_slice(&length.to_ne_bytes());
            message[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
            message[WORD + 4..WORD + 8].copy_from_slice(&kind.to_ne_bytes());
            message[WORD + 8..].copy_from_slice(data);
            self.length += length.next_multiple_of(WORD);
        }
    }
}
