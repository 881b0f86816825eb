//! Reading and writing sockets without asking twice.
//!
//! A read that fills less than the room it had has emptied the socket, and a write that was cut short has filled it:
//! the next attempt could only say "not now". The runtime is told so at once, which saves a system call per batch.
//! It forgets only the news it had before the attempt; what comes in between wakes us again.

use std::io;
use std::os::fd::AsFd as _;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// What an attempt moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// Bytes.
    pub(super) count: usize,
    /// Whether there is nothing more to be had, or no more room, for now.
    pub(super) done: bool,
}

const NOT_NOW: Moved = Moved { count: 0, done: true };

/// Reads what there is; `None` at the end of what the other side sends.
pub(super) fn read(stream: &TcpStream, room: &mut [u8]) -> io::Result<Option<Moved>> {
    let wanted = room.len();
    let mut ended = false;
    let moved = attempt(stream, Interest::READABLE, wanted, |stream| {
        let count = rustix::io::read(stream.as_fd(), &mut *room)?;
        ended = count == 0;
        // The end is no reason to wait.
        Ok(if ended { wanted } else { count })
    })?;
    Ok((!ended).then_some(moved))
}

/// Writes what fits.
pub(super) fn write(stream: &TcpStream, bytes: &[u8]) -> io::Result<Moved> {
    let flags = rustix::net::SendFlags::NOSIGNAL;
    attempt(stream, Interest::WRITABLE, bytes.len(), |stream| {
        Ok(rustix::net::send(stream.as_fd(), bytes, flags)?)
    })
}

fn attempt(
    stream: &TcpStream,
    interest: Interest,
    wanted: usize,
    act: impl FnOnce(&TcpStream) -> io::Result<usize>,
) -> io::Result<Moved> {
    let mut count = 0;
    let tried = stream.try_io(interest, || {
        count = act(stream)?;
        if count < wanted { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match tried {
        Ok(()) => Ok(Moved { count, done: false }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && count > 0 => {
            Ok(Moved { count, done: true })
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(NOT_NOW),
        Err(error) => Err(error),
    }
}
