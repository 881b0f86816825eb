//! A line that can be cut: a port that leads to another one while it is whole.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The line, and both ends of every connection over it; nothing any more once it was cut.
pub(crate) struct Line {
    pub(crate) port: u16,
    connections: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Line {
    /// To a port of loopback.
    pub(crate) fn to(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let connections = Arc::new(Mutex::new(Some(Vec::new())));
        let shared = Arc::clone(&connections);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // One that cannot be led on is closed, as a cut line closes it.
                let _ = lead_on(&shared, near, target);
            }
        });
        Ok(Self { port, connections })
    }

    /// Ends every connection, and every new one at once.
    pub(crate) fn cut(&self) {
        for end in self.lock().take().into_iter().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<TcpStream>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lead_on(connections: &Mutex<Option<Vec<TcpStream>>>, near: TcpStream, target: u16) -> io::Result<()> {
    let mut whole = connections.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(open) = whole.as_mut() else { return Ok(()) };
    let far = TcpStream::connect(("127.0.0.1", target))?;
    open.extend([near.try_clone()?, far.try_clone()?]);
    for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
