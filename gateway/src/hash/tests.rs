use std::sync::mpsc;

use proptest::prelude::*;

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Occupies the only thread until the sender is used.
fn block(queue: &HashQueue) -> (mpsc::SyncSender<()>, Turn<()>) {
    let (release, wait) = mpsc::sync_channel::<()>(1);
    let (started, begun) = mpsc::sync_channel(1);
    let turn = queue
        .submit("blocker", move || {
            started.send(()).unwrap();
            let _ = wait.recv();
        })
        .unwrap();
    begun.recv().unwrap();
    (release, turn)
}

#[test]
fn a_hash_is_verified_and_nothing_else_is() {
    let phc = hash("Lantern-7-harbour").unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert!(phc.len() <= 256);
    assert_eq!(verify("Lantern-7-harbour", &phc), Some(true));
    for (password, phc) in [("lantern-7-harbour", &*phc), ("", dummy()), ("x", "not a hash")] {
        assert_eq!(verify(password, phc), Some(false));
    }
    let dear = phc.replace("m=19456", "m=1048576");
    assert_eq!(verify("Lantern-7-harbour", &dear), Some(false), "nobody makes a gateway spend a gigabyte");
}

#[test]
fn departments_take_turns() {
    let queue = HashQueue::start(1).unwrap();
    let (release, blocker) = block(&queue);
    let (done, results) = mpsc::sync_channel(6);
    let submit = |department: &'static str, index: usize| {
        let done = done.clone();
        queue.submit(department, move || done.send((department, index)).unwrap()).unwrap()
    };
    let turns =
        [submit("a", 0), submit("a", 1), submit("a", 2), submit("b", 0), submit("c", 0), submit("c", 1)];
    assert_eq!(turns.each_ref().map(Turn::place), [1, 4, 6, 2, 3, 5]);
    assert_eq!(queue.waiting(), 6);
    drop(release);
    let order: Vec<_> = (0..6).map(|_| results.recv().unwrap()).collect();
    assert_eq!(order, [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("c", 1), ("a", 2)]);
    drop((turns, blocker));
}

#[test]
fn whoever_leaves_is_not_served() {
    let queue = HashQueue::start(1).unwrap();
    let (release, blocker) = block(&queue);
    let gone = queue.submit("a", || unreachable!("nobody waits for it")).unwrap();
    let mut stays = queue.submit("a", || 7).unwrap();
    assert_eq!(stays.place(), 2);
    drop(gone);
    assert_eq!(stays.place(), 1);
    drop(release);
    assert_eq!(runtime().block_on(stays.done()), Some(7));
    assert_eq!(stays.place(), 0);
    drop(blocker);
}

#[test]
fn the_queue_is_bounded() {
    let queue = HashQueue::start(1).unwrap();
    let (release, blocker) = block(&queue);
    let turns: Vec<_> = (0..QUEUE_MAX).map(|_| queue.submit("a", || ()).unwrap()).collect();
    assert!(matches!(queue.submit("b", || ()), Err(Full)));
    drop(turns);
    assert_eq!(queue.waiting(), 0);
    assert!(queue.submit("b", || ()).is_ok());
    drop((release, blocker));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The place shown is the number of pops until it is served.
    #[test]
    fn the_place_is_what_happens(arrivals in prop::collection::vec(0_u8..4, 1..40), served in 0_usize..10) {
        let mut queues = Queues::default();
        for (number, department) in (0_u64..).zip(&arrivals) {
            queues.push(&department.to_string(), Work { number, run: Box::new(|| ()) });
        }
        for _ in 0..served {
            queues.pop();
        }
        let waiting: Vec<_> = queues
            .waiting
            .iter()
            .flat_map(|(department, queue)| queue.iter().map(|work| (department.clone(), work.number)))
            .collect();
        prop_assert_eq!(waiting.len(), queues.count);
        let places: BTreeMap<u64, usize> =
            waiting.iter().map(|(department, number)| (*number, queues.place(department, *number))).collect();
        let mut pops = 0;
        while let Some(work) = queues.pop() {
            pops += 1;
            prop_assert_eq!(places.get(&work.number), Some(&pops));
        }
        prop_assert_eq!(queues.count, 0);
        prop_assert!(queues.order.is_empty() && queues.waiting.is_empty());
    }
}
