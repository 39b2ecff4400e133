//! Cutting frames out of a byte stream.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use bytes::{Bytes, BytesMut};
use client_protocol::frame::LENGTH_BYTES;
use client_protocol::limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX};
use client_protocol::{Frame, FrameError};
use common::samples;

#[test]
fn frames_come_out_whole_however_the_bytes_arrive() {
    let frames: Vec<_> = samples().into_iter().filter(|sample| sample.way().ends_with("-frame")).collect();
    let stream: Vec<u8> = frames.iter().flat_map(|sample| sample.bytes()).collect();
    for step in [1, 2, 3, 7, 64, stream.len()] {
        let mut buffer = BytesMut::new();
        let mut got = Vec::new();
        for part in stream.chunks(step) {
            buffer.extend_from_slice(part);
            while let Some(frame) = Frame::split(&mut buffer, FRAME_BYTES_MAX).unwrap() {
                got.push(frame);
            }
        }
        assert!(buffer.is_empty(), "{} bytes are left at step {step}", buffer.len());
        assert_eq!(got, frames.iter().map(common::Sample::frame).collect::<Vec<_>>(), "step {step}");
    }
}

#[test]
fn nothing_is_taken_until_a_frame_is_whole() {
    let whole = samples()[0].bytes();
    for end in 0..whole.len() {
        let mut buffer = BytesMut::from(&whole[..end]);
        assert_eq!(Frame::split(&mut buffer, FRAME_BYTES_MAX), Ok(None), "{end} bytes");
        assert_eq!(&buffer[..], &whole[..end]);
    }
}

#[test]
fn a_length_above_the_bound_is_refused_before_its_bytes_come() {
    let announce = |length: u32, max| Frame::split(&mut BytesMut::from(&length.to_le_bytes()[..]), max);
    let too_large = |length, max| Err(FrameError::TooLarge { length, max });
    assert_eq!(announce(HELLO_BYTES_MAX as u32, HELLO_BYTES_MAX), Ok(None));
    assert_eq!(announce(HELLO_BYTES_MAX as u32 + 1, HELLO_BYTES_MAX), too_large(HELLO_BYTES_MAX + 1, HELLO_BYTES_MAX));
    assert_eq!(announce(FRAME_BYTES_MAX as u32, usize::MAX), Ok(None));
    assert_eq!(announce(FRAME_BYTES_MAX as u32 + 1, usize::MAX), too_large(FRAME_BYTES_MAX + 1, FRAME_BYTES_MAX));
    assert_eq!(announce(u32::MAX, usize::MAX), too_large(u32::MAX as usize, FRAME_BYTES_MAX));
}

#[test]
fn a_length_without_room_for_a_kind_is_refused() {
    for length in [0_u32, 1] {
        let mut buffer = BytesMut::from(&length.to_le_bytes()[..]);
        assert_eq!(Frame::split(&mut buffer, FRAME_BYTES_MAX), Err(FrameError::TooShort(length as usize)));
        assert_eq!(Frame::parse(Bytes::from(vec![0; length as usize])), Err(FrameError::TooShort(length as usize)));
    }
}

#[test]
fn the_largest_frame_passes() {
    let mut bytes = (FRAME_BYTES_MAX as u32).to_le_bytes().to_vec();
    bytes.resize(LENGTH_BYTES + FRAME_BYTES_MAX, 7);
    let frame = Frame::split(&mut BytesMut::from(&bytes[..]), FRAME_BYTES_MAX).unwrap().unwrap();
    assert_eq!((frame.kind, frame.rest.len()), (0x0707, FRAME_BYTES_MAX - 2));
}
