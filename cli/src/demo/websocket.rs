//! As much of RFC 6455 as a clock and an echo need.

use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use http::{HeaderMap, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest message that is echoed.
const MESSAGE_MAX: usize = 4 * 1024;
/// The clock's beat.
const BEAT: Duration = Duration::from_millis(500);
/// How long a client may take to receive a frame.
const SEND: Duration = Duration::from_secs(10);

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The answer to a client's key, if this is a request for a WebSocket.
pub(super) fn accept(headers: &HeaderMap) -> Option<String> {
    let has = |name: header::HeaderName, word: &str| {
        let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        text.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    (has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")).then(|| {
        let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
        Base64::encode_string(aws_lc_rs::digest::digest(sha1, text.as_bytes()).as_ref())
    })
}

/// Sends the time at every beat and echoes what comes, until either side has enough.
pub(super) async fn clock_and_echo(upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
    let mut beat = tokio::time::interval(BEAT);
    let (frames, mut received) = tokio::sync::mpsc::channel(16);
    let read = async move {
        while let Some(frame) = read_frame(&mut from).await {
            if frames.send(frame).await.is_err() {
                break;
            }
        }
        // Without a sender the writing side finds the end, once it has answered everything.
        drop(frames);
        std::future::pending::<()>().await;
    };
    let write = async {
        loop {
            let sent = tokio::select! {
                _ = beat.tick() => {
                    let now = jiff::Timestamp::now().as_millisecond();
                    send(&mut to, TEXT, format!("{{\"now\":{now}}}").as_bytes()).await
                }
                frame = received.recv() => match frame {
                    Some((TEXT, text)) => send(&mut to, TEXT, &text).await,
                    Some((PING, payload)) => send(&mut to, PONG, &payload).await,
                    Some((CLOSE, payload)) => {
                        // The answer to a farewell need not arrive.
                        let _ = send(&mut to, CLOSE, &payload).await;
                        return;
                    }
                    Some(_) => Some(()),
                    None => return,
                },
            };
            if sent.is_none() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}

/// The next frame of a client, unmasked; `None` at the end or when it breaks a rule.
async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = from.read_u8().await.ok()?;
    let second = from.read_u8().await.ok()?;
    // Whole, unextended, masked frames only: browsers send small messages so.
    if first & 0xf0 != 0x80 || second & 0x80 == 0 {
        return None;
    }
    let len = match second & 0x7f {
        126 => usize::from(from.read_u16().await.ok()?),
        127 => return None,
        len => usize::from(len),
    };
    if len > MESSAGE_MAX {
        return None;
    }
    let mut mask = [0; 4];
    from.read_exact(&mut mask).await.ok()?;
    let mut payload = vec![0; len];
    from.read_exact(&mut payload).await.ok()?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Some((first & 0x0f, payload))
}

async fn send(to: &mut (impl AsyncWrite + Unpin), kind: u8, payload: &[u8]) -> Option<()> {
    let mut frame = vec![0x80 | kind];
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(len),
        _ => {
            frame.push(126);
            frame.extend(u16::try_from(payload.len()).ok()?.to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    let write = async {
        to.write_all(&frame).await.ok()?;
        to.flush().await.ok()
    };
    tokio::time::timeout(SEND, write).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_of_the_rfc() {
        let mut headers = HeaderMap::new();
        headers.insert(header::UPGRADE, "websocket".parse().expect("a value"));
        headers.insert(header::CONNECTION, "keep-alive, Upgrade".parse().expect("a value"));
        assert_eq!(accept(&headers), None);
        headers.insert(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==".parse().expect("a value"));
        assert_eq!(accept(&headers).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[tokio::test]
    async fn frames_are_unmasked_and_bounded() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read_frame(&mut hello.as_slice()).await, Some((TEXT, b"Hello".to_vec())));
        for broken in [
            &hello[..9],
            &[0x81, 0x05, 1, 2, 3, 4, 5],
            &[0x81, 0xff],
            &[0x01, 0x80],
            &[0x81, 0xfe, 0xff, 0xff],
        ] {
            assert_eq!(read_frame(&mut &broken[..]).await, None);
        }
    }
}
