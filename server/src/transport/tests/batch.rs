//! Packets that leave together: to whom, from where, with which mark, and what happens to the others where one cannot be sent.

use super::super::batch::Batch;
use super::super::socket::Socket;
use super::STEP;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// A socket that says from where and with which mark a packet came.
struct Receiver {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Receiver {
    fn on(ip: IpAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let state = UdpSocketState::new((&socket).into()).unwrap();
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(STEP)).unwrap();
        Self { socket, state }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn next(&self) -> (Vec<u8>, RecvMeta) {
        let (mut bytes, mut meta) = ([0; 2_000], [RecvMeta::default()]);
        self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(&mut bytes)], &mut meta).expect("a packet in time");
        (bytes[..meta[0].len].to_vec(), meta[0])
    }
}

/// Containers may be without: there is nothing of it to get wrong then.
fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

fn transmit(destination: SocketAddr, src_ip: Option<IpAddr>, ecn: Option<EcnCodepoint>, bytes: &[u8]) -> Transmit {
    Transmit { destination, ecn, size: bytes.len(), segment_size: None, src_ip }
}

/// A socket on `ip` that takes packets, inside a runtime, which it needs.
fn with_socket(ip: IpAddr, test: impl FnOnce(&mut Socket)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut socket = Socket::new(UdpSocket::bind((ip, 0)).unwrap()).unwrap();
        // Until the runtime has seen that it takes packets, they wait.
        let first = Receiver::on(Ipv4Addr::LOCALHOST.into());
        let bytes = [1; 3];
        socket.send(transmit(to_address(ip, first.address()), None, None, &bytes), &bytes);
        socket.flush();
        socket.ready().await.unwrap();
        socket.send_waiting();
        assert_eq!(first.next().0, bytes);
        test(&mut socket);
    });
}

/// An address as a socket on `from` knows it.
fn to_address(from: IpAddr, to: SocketAddr) -> SocketAddr {
    match (from, to.ip()) {
        (IpAddr::V6(_), IpAddr::V4(ip)) => (ip.to_ipv6_mapped(), to.port()).into(),
        _ => to,
    }
}

#[test]
fn packets_that_leave_together_keep_order_mark_and_source() {
    let mut cases: Vec<(IpAddr, IpAddr, IpAddr)> =
        vec![(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into())];
    if has_ipv6() {
        cases.push((Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()));
        // A socket of both families.
        cases.push((Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 3).into()));
    }
    for (from, to, source) in cases {
        let receivers = [Receiver::on(to), Receiver::on(to)];
        with_socket(from, |socket| {
            // Over the bound of one call, and odd.
            for n in 0..77_u8 {
                let bytes = vec![n; usize::from(n) + 1];
                let (to, ecn) = (receivers[usize::from(n) % 2].address(), Some(EcnCodepoint::Ect0).filter(|_| n % 3 != 0));
                socket.send(transmit(to_address(from, to), Some(source), ecn, &bytes), &bytes);
            }
            socket.flush();
        });
        for n in 0..77_u8 {
            let (bytes, meta) = receivers[usize::from(n) % 2].next();
            assert_eq!(bytes, vec![n; usize::from(n) + 1], "from {from} to {to}");
            assert_eq!(meta.addr.ip(), source);
            assert_eq!(meta.ecn.is_some(), n % 3 != 0, "the mark of packet {n} from {from} to {to}");
        }
    }
}

/// Else every packet would go out alone, as after a fault, and nobody would see it.
#[cfg(target_os = "linux")]
#[test]
fn several_packets_are_one_call() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let ipv6 = has_ipv6().then_some(IpAddr::from(Ipv6Addr::LOCALHOST));
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST)].into_iter().chain(ipv6) {
        let receiver = Receiver::on(ip);
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut batch = Batch::default();
        for n in 0..5_u8 {
            let bytes = [n; 9];
            batch.push(transmit(receiver.address(), Some(ip), Some(EcnCodepoint::Ect1), &bytes), &bytes);
        }
        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
        assert_eq!(super::super::batch::send(&socket, &batch, 2).unwrap(), 3);
        assert_eq!(receiver.next().0, [2; 9]);
    }
}

#[test]
fn a_packet_that_cannot_be_sent_holds_nobody_up() {
    let receiver = Receiver::on(Ipv4Addr::LOCALHOST.into());
    with_socket(Ipv4Addr::UNSPECIFIED.into(), |socket| {
        // Nobody has port 0.
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for (n, to) in [nowhere, receiver.address(), nowhere, receiver.address(), nowhere].into_iter().enumerate() {
            let bytes = [n as u8; 4];
            socket.send(transmit(to, None, None, &bytes), &bytes);
        }
        socket.flush();
        assert!(socket.takes_more());
    });
    assert_eq!(receiver.next().0, [1; 4]);
    assert_eq!(receiver.next().0, [3; 4]);
}

#[test]
fn what_the_system_did_not_take_is_taken_out_in_order() {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let mut batch = Batch::default();
    for n in 1..=4_u8 {
        batch.push(transmit(to, None, None, &vec![n; usize::from(n)]), &vec![n; usize::from(n)]);
    }
    let left: Vec<_> = batch.take_from(2).map(|(transmit, bytes)| (transmit.size, bytes.to_vec())).collect();
    assert_eq!(left, [(3, vec![3; 3]), (4, vec![4; 4])]);
    assert_eq!(batch.len(), 2);
    batch.clear();
    assert_eq!(batch.len(), 0);
}
