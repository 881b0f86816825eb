//! A large file that is made while it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Bytes of a piece.
const PIECE: usize = 256 * 1024;
/// Bytes of the whole.
const WHOLE: u64 = 1 << 30;
/// A piece each 30 ms: 1 GiB takes about two minutes, long enough to see it cut.
const PACE: Duration = Duration::from_millis(30);

/// The body of the download.
pub(super) struct Download {
    piece: Bytes,
    left: u64,
    pace: Option<Interval>,
}

impl Download {
    /// `fast` in the query sends it as fast as the line takes it.
    pub(super) fn new(query: &str) -> Self {
        let pace = (!query.split('&').any(|part| part == "fast")).then(|| {
            let mut pace = interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pace
        });
        Self { piece: Bytes::from(vec![0x5a; PIECE]), left: WHOLE, pace }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(pace) = &mut self.pace
            && pace.poll_tick(context).is_pending()
        {
            return Poll::Pending;
        }
        let len = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
        self.left -= len as u64;
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..len)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
