use proptest::prelude::*;
use tidegate_core::policy::Factor;

use super::*;

fn tickets() -> impl Strategy<Value = Ticket> {
    (
        any::<[u8; 16]>(),
        "[a-z][a-z0-9]{1,14}",
        "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "[A-Za-z0-9-]{1,63}",
        any::<(u64, bool, u8)>(),
        any::<(i64, i64, u64, u64)>(),
    )
        .prop_map(
            |(session, department, name, uid, (epoch, tunnel, factors), (issued, end, term, sequence))| {
                Ticket {
                    session: SessionId(session),
                    account: AccountId {
                        department: department.parse().unwrap(),
                        name: name.parse().unwrap(),
                    },
                    uid: uid.parse().unwrap(),
                    epoch,
                    kind: if tunnel { Kind::Tunnel } else { Kind::Portal },
                    factors,
                    issued: Timestamp(issued),
                    absolute_end: Timestamp(end),
                    generation: Generation { term, sequence },
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn reads_back_what_was_written_and_nothing_shorter_or_longer(
        ticket in tickets(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = to_bytes(&ticket);
        prop_assert!(bytes.len() <= TICKET_BYTES_MAX);
        prop_assert_eq!(open_bytes(&bytes), Ok(ticket));
        prop_assert_eq!(open_bytes(&bytes[..cut.index(bytes.len())]), Err(Code::TicketInvalid));
        let longer = [bytes.as_slice(), &[0]].concat();
        prop_assert_eq!(open_bytes(&longer), Err(Code::TicketInvalid));
    }

    #[test]
    fn any_bytes_are_a_ticket_that_writes_the_same_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..260),
    ) {
        if let Ok(ticket) = open_bytes(&bytes) {
            prop_assert_eq!(to_bytes(&ticket), bytes);
        }
    }
}

#[test]
fn the_longest_ticket_has_the_longest_length() {
    let longest = Ticket {
        session: SessionId([0; 16]),
        account: AccountId {
            department: "a".repeat(15).parse().unwrap(),
            name: "n".repeat(63).parse().unwrap(),
        },
        uid: "u".repeat(63).parse().unwrap(),
        epoch: 1,
        kind: Kind::Portal,
        factors: Factor::Password.bit(),
        issued: Timestamp(0),
        absolute_end: Timestamp(1),
        generation: Generation::default(),
    };
    assert_eq!(to_bytes(&longest).len(), TICKET_BYTES_MAX);
}
