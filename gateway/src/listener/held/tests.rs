use std::pin::pin;
use std::task::Waker;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// A first flight: nothing but its first byte says what it is.
const FLIGHT: [u8; 20] = {
    let mut flight = [ENCRYPTED; 20];
    flight[0] = 22;
    flight
};
const TICKET: [u8; 12] = [ENCRYPTED; 12];
const ANSWER: [u8; 30] = [7; 30];

/// A connection over which `room` bytes are under way at most.
fn connection(room: usize) -> (Held<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(room);
    (Held::new(ours), theirs)
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

/// Whether nothing can be read at this moment.
fn is_silent(stream: &mut DuplexStream) -> bool {
    let mut byte = [0];
    let reading = pin!(stream.read(&mut byte));
    reading.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test]
async fn a_ticket_goes_out_with_the_first_answer() {
    let (mut held, mut peer) = connection(1_024);
    held.write_all(&FLIGHT).await.expect("written");
    let mut flight = [0; FLIGHT.len()];
    in_time(peer.read_exact(&mut flight)).await.expect("the flight");
    held.write_all(&TICKET).await.expect("kept");
    held.flush().await.expect("nothing to do");
    assert!(is_silent(&mut peer), "nobody waits for it");
    held.done();
    held.write_all(&ANSWER).await.expect("written");
    let mut all = [0; 1_024];
    let length = in_time(peer.read(&mut all)).await.expect("an answer");
    assert_eq!(all[..length], [TICKET.as_slice(), &ANSWER].concat(), "in one piece");
    // From here on nothing is kept.
    held.write_all(&TICKET).await.expect("written");
    in_time(peer.read_exact(&mut [0; TICKET.len()])).await.expect("at once");
}

#[tokio::test]
async fn the_alert_of_a_handshake_that_failed_goes_out_with_the_farewell() {
    let (mut held, mut peer) = connection(1_024);
    held.write_all(&FLIGHT).await.expect("written");
    // An alert is encrypted like a ticket, and as short.
    held.write_all(&TICKET).await.expect("kept");
    in_time(held.shutdown()).await.expect("it ends");
    drop(held);
    let mut all = Vec::new();
    in_time(peer.read_to_end(&mut all)).await.expect("everything");
    assert_eq!(all, [FLIGHT.as_slice(), &TICKET].concat());
}

#[tokio::test]
async fn a_flight_that_is_taken_bit_by_bit_is_no_ticket() {
    for room in 1..FLIGHT.len() {
        let (mut held, mut peer) = connection(room);
        let mut flight = [0; FLIGHT.len()];
        let (written, read) =
            in_time(async { tokio::join!(held.write_all(&FLIGHT), peer.read_exact(&mut flight)) }).await;
        written.expect("written");
        read.expect("the client waits for all of it");
        assert_eq!(flight, FLIGHT);
        held.write_all(&TICKET).await.expect("kept");
        assert!(is_silent(&mut peer), "what follows is one, with room for {room}");
    }
}

#[tokio::test]
async fn nothing_is_lost_or_turned_round_for_a_slow_client() {
    for room in 1..=TICKET.len() + ANSWER.len() {
        let (mut held, mut peer) = connection(room);
        held.write_all(&TICKET).await.expect("kept");
        held.done();
        let sending = async {
            held.write_all(&ANSWER).await.expect("written");
            held.shutdown().await.expect("shut down");
        };
        let mut all = Vec::new();
        let ((), read) = in_time(async { tokio::join!(sending, peer.read_to_end(&mut all)) }).await;
        read.expect("everything");
        assert_eq!(all, [TICKET.as_slice(), &ANSWER].concat(), "with room for {room}");
    }
}

#[tokio::test]
async fn what_is_too_long_for_a_ticket_is_not_kept() {
    let (mut held, mut peer) = connection(4 * HELD_MAX);
    let long = vec![ENCRYPTED; HELD_MAX];
    held.write_all(&long).await.expect("kept");
    assert!(is_silent(&mut peer));
    held.write_all(&TICKET).await.expect("written");
    in_time(peer.read_exact(&mut vec![0; HELD_MAX + TICKET.len()])).await.expect("all of it");
}

#[tokio::test]
async fn without_an_answer_it_goes_out_with_the_farewell() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut client, mut held) = (client.expect("connected"), Held::new(accepted.expect("accepted").0));
    held.write_all(&TICKET).await.expect("kept");
    held.done();
    held.shutdown().await.expect("shut down");
    let mut all = Vec::new();
    in_time(client.read_to_end(&mut all)).await.expect("the end");
    assert_eq!(all, TICKET);
}
