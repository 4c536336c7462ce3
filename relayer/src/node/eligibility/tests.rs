use alloy::primitives::{B256, aliases::U96};

use super::*;
use crate::{
    domain::STAYS,
    policy::Price,
    protocol::sortition::Seat,
    testing::{Bench, MODEL, request, task},
};

/// A price of one wei per gas and terms without a margin, on a node whose model has `seats` seats, of which only the last
/// has a key, the node's.
fn bench(seats: u32) -> Bench {
    let bench = Bench::new();
    bench.policy.send_modify(|policy| {
        policy.terms = PriceTerms { min_pay: 0, margin_percent: 0 };
        policy.fees.min_priority_fee = 1;
    });
    let mut table = vec![Seat::default(); seats as usize];
    table[seats as usize - 1] = Seat { signer: bench.node.signer, from: 0, until: STAYS };
    bench.node.seats_mut().load(MODEL, table);
    bench.node.price.send_replace(Some(Price { gas: 2, byte: 0 }));
    bench
}

/// A request of block 1 that draws from `seats` seats and pays `fee` wei.
fn asked(seats: u32, fee: u64) -> Task {
    let task = task(1);
    Task { request: Request { seat_count: seats, fee: U96::from(fee), ..task.request }, ..task }
}

#[test]
fn a_task_that_pays_is_answered_from_the_seat_that_is_drawn() {
    let answered = bench(1).node.eligibility(&asked(1, 1_000_000), 2, 0);
    let assignment = SeatAssignment { seat: 0, rank: 0, eligible: 1, holes: Vec::new() };
    assert_eq!(answered, Eligibility::Now(assignment));
}

#[test]
fn a_task_that_would_pay_with_cheaper_gas_waits_until_its_deadline_and_one_that_never_would_does_not() {
    let bench = bench(1);
    let (worth, not_now, never) = (asked(1, 1_000_000), asked(1, 150_000), asked(1, 1_000));
    assert!(
        matches!(bench.node.eligibility(&not_now, 2, 0), Eligibility::AwaitsCheaperGas { pays, asks } if pays < asks)
    );
    let (pays, asks) = (1_000, 115_000);
    assert_eq!(bench.node.eligibility(&never, 2, 0), Eligibility::Never(Skip::Unprofitable { pays, asks }));
    let late = not_now.request.deadline() + 1;
    let (pays, asks) = (150_000, 230_000);
    assert_eq!(bench.node.eligibility(&not_now, late, 0), Eligibility::Never(Skip::Unprofitable { pays, asks }));
    assert_eq!(bench.node.eligibility(&worth, late, 0), Eligibility::Never(Skip::Expired { deadline: late - 1 }));
}

#[test]
fn the_holes_that_an_answer_lists_are_part_of_its_price() {
    let bench = bench(40);
    let Eligibility::Now(assignment) = bench.node.eligibility(&asked(40, 10_000_000), 2, 0) else { panic!() };
    let holes = assignment.holes.len() as u128;
    assert!(holes > 0);
    // It would pay without them, even at twice the least price.
    let (pays, asks) = (240_000, 117_000 + 7_000 * holes);
    assert!(asks > pays, "{holes} holes");
    assert_eq!(
        bench.node.eligibility(&asked(40, 240_000), 2, 0),
        Eligibility::Never(Skip::Unprofitable { pays, asks })
    );
}

#[test]
fn without_a_seat_there_is_nothing_to_wait_for() {
    let bench = bench(1);
    bench.node.seats_mut().load(MODEL, Vec::new());
    let task = asked(1, 1_000_000);
    let deadline = task.request.deadline();
    assert_eq!(bench.node.eligibility(&task, deadline, 0), Eligibility::Never(Skip::NoSeat));
    assert_eq!(bench.node.eligibility(&task, deadline + 1, 0), Eligibility::Never(Skip::Expired { deadline }));
}

#[test]
fn the_turn_of_others_is_waited_for_whatever_gas_costs() {
    let bench = bench(2);
    let other = Seat { signer: alloy::primitives::Address::repeat_byte(9), from: 0, until: STAYS };
    let own = Seat { signer: bench.node.signer, ..other };
    bench.node.seats_mut().load(MODEL, vec![other, own]);
    // One of two blocks draws the other seat first.
    let tasks = (0..20).map(|salt| {
        let task = asked(2, 1);
        Task { id: B256::with_last_byte(salt), ..task }
    });
    let waiting = tasks.map(|task| bench.node.eligibility(&task, 2, 0)).find(|one| *one == Eligibility::From(6));
    assert!(waiting.is_some(), "the second window of 4 blocks begins in block 6");
}

#[test]
fn pay_is_that_of_our_positions_among_the_signers() {
    let bench = bench(4);
    let asked = Request { quorum: 3, fee: U96::from(10), submit_fee: U96::from(5), ..request(0, 1) };
    let seats = |seats: [u32; 3]| Bytes::from(seats.map(u32::to_be_bytes).concat());
    assert_eq!(bench.node.pay(&asked, &seats([3, 0, 1])), 4 + 5);
    assert_eq!(bench.node.pay(&asked, &seats([0, 1, 3])), 3);
    assert_eq!(bench.node.pay(&asked, &seats([0, 3, 3])), 6, "two of ours");
    assert_eq!(bench.node.pay(&asked, &seats([0, 1, 2])), 3, "none that is known");
    assert!(bench.node.has_signed(&asked, &seats([0, 3, 1])) && !bench.node.has_signed(&asked, &seats([0, 1, 2])));
}
