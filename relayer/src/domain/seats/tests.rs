use super::*;
use crate::testing::{MODEL, task};

fn turn(rank: u32, eligible: u32, window: u16) -> Turn {
    Turn { rank, eligible, quorum: 1, window }
}

#[test]
fn exactly_one_rank_has_its_turn_in_every_block() {
    for window in [1, 2, 4, 7] {
        for eligible in 1..6 {
            for elapsed in 1..200 {
                let having: Vec<_> =
                    (0..eligible).filter(|rank| turn(*rank, eligible, window).is_at(elapsed)).collect();
                assert_eq!(having.len(), 1, "window {window}, {eligible} eligible, elapsed {elapsed}: {having:?}");
            }
        }
    }
}

#[test]
fn a_turn_is_never_before_the_rank_is_valid() {
    for rank in 0..5 {
        let turn = turn(rank, 5, 4);
        for elapsed in 0..100 {
            assert!(!turn.is_at(elapsed) || u64::from(rank) < crate::protocol::sortition::allowed_ranks(elapsed, 1, 4));
        }
        assert_eq!(turn.next(0), turn.opens());
    }
}

#[test]
fn the_drawn_seat_has_the_whole_first_window() {
    for elapsed in 1..=4 {
        assert!(turn(0, 3, 4).is_at(elapsed));
        assert!(!turn(1, 3, 4).is_at(elapsed));
    }
    assert!(turn(1, 3, 4).is_at(5));
    assert!(!turn(0, 3, 4).is_at(5));
}

#[test]
fn every_rank_gets_another_turn() {
    for rank in 0..4 {
        let turn = turn(rank, 4, 1);
        let again = turn.next(turn.opens() + 1);
        assert!(again > turn.opens() && turn.is_at(again));
    }
}

#[test]
fn what_the_former_holder_of_a_seat_answered_is_not_ours() {
    let (model, signer) = (B256::repeat_byte(1), Address::repeat_byte(2));
    let mut table = SeatTable::default();
    table.load(model, vec![Seat::default(), Seat { signer, from: 100, until: STAYS }]);
    assert!(table.is_held(model, 1, signer, 100));
    assert!(!table.is_held(model, 1, signer, 99), "before this key had it");
    assert!(!table.is_held(model, 0, signer, 100) && !table.is_held(model, 2, signer, 100));
    assert!(!table.is_held(model, 1, Address::repeat_byte(3), 100));
}

#[test]
fn a_trimmed_seat_is_a_hole_to_older_requests_whoever_takes_it_anew() {
    let (own, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let mut table = SeatTable::default();
    let seat = |signer, from| Seat { signer, from, until: STAYS };
    table.load(MODEL, vec![seat(own, 1), seat(other, 1), seat(other, 1)]);
    let mut task = task(10);
    task.request.seat_count = 3;
    let before = table.assignment(&task, own).unwrap();
    assert_eq!(before.eligible, 3);

    table.change(MODEL, 1, SeatChange::Emptied);
    table.change(MODEL, 2, SeatChange::Emptied);
    table.trim(MODEL, 1);
    let alone = table.assignment(&task, own).unwrap();
    assert_eq!((alone.seat, alone.rank, alone.eligible), (0, 0, 1));
    table.change(MODEL, 1, SeatChange::Keyed { signer: other, from: 50 });
    assert_eq!(table.assignment(&task, own), Some(alone.clone()), "the draw is by the request's own count");

    task.request.seat_count = 1;
    assert!(table.assignment(&task, own).unwrap().holes.is_empty());
}
