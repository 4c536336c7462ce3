use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn seed_of(i: u64) -> B256 {
    keccak256(i.to_be_bytes())
}

fn seat(from: u64, until: u64) -> Seat {
    Seat { signer: Address::repeat_byte(1), from, until }
}

#[test]
fn ranks_are_a_permutation_for_every_size() {
    for n in (1..=300).chain([1000, 1023, 1024, 1025, 4097]) {
        let ranks: HashSet<_> = (0..n).map(|seat| rank(seed_of(n.into()), n, seat).unwrap()).collect();
        assert_eq!(ranks.len() as u32, n);
        assert_eq!(ranks.into_iter().max(), Some(n - 1));
    }
}

#[test]
fn an_index_beyond_the_seats_has_no_rank() {
    assert_eq!(rank(seed_of(0), 0, 0), None);
    assert_eq!(rank(seed_of(0), 5, 5), None);
    assert_eq!(rank(seed_of(0), 17, u32::MAX), None);
    assert!(rank(seed_of(0), u32::MAX, u32::MAX - 1).is_some());
}

#[test]
fn the_shuffle_is_fisher_yates_with_the_seeds_limbs() {
    // By the page, on the whole array instead of one index.
    for i in 0..200u64 {
        let (seed, n) = (seed_of(i), 2 + (i % 15) as usize);
        let limbs: Vec<usize> = (1..n)
            .map(|i| (U256::from_be_bytes(seed.0) >> (16 * (i - 1)) & U256::from(0xffff)).to::<usize>())
            .collect();
        let mut seats: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            seats.swap(i, limbs[i - 1] % (i + 1));
        }
        // Following one index through the swaps gives where it ends up.
        for (place, seat) in seats.iter().enumerate() {
            assert_eq!(rank(seed, n as u32, *seat as u32), Some(place as u32));
        }
    }
}

#[test]
fn every_seat_gets_every_rank_about_equally_often() {
    for n in [3u32, 16, 17, 24] {
        let rounds = 100 * u64::from(n);
        let mut counts = vec![0u32; (n * n) as usize];
        for i in 0..rounds {
            for seat in 0..n {
                counts[(seat * n + rank(seed_of(i), n, seat).unwrap()) as usize] += 1;
            }
        }
        // 100 expected, standard deviation under 10: six of them, the seeds being fixed.
        for count in counts {
            assert!(count.abs_diff(100) < 60, "n = {n}: {count}");
        }
    }
}

#[test]
fn windows_open_to_one_quorum_of_ranks_after_another() {
    assert_eq!(allowed_ranks(0, 1, 4), 0);
    assert_eq!(allowed_ranks(1, 1, 4), 1);
    assert_eq!(allowed_ranks(4, 1, 4), 1);
    assert_eq!(allowed_ranks(5, 1, 4), 2);
    assert_eq!(allowed_ranks(5, 3, 4), 6);
}

#[test]
fn holes_move_up_those_behind_them() {
    let mut seats = vec![seat(0, 100); 6];
    let all = Draw::new(seed_of(9), &seats, 50);
    let order: Vec<_> = all.eligible().collect();
    seats[order[0] as usize].until = 50;
    seats[order[2] as usize].signer = Address::ZERO;
    seats[order[3] as usize].from = 51;
    let draw = Draw::new(seed_of(9), &seats, 50);
    assert_eq!(draw.eligible().collect::<Vec<_>>(), [order[1], order[4], order[5]]);
    assert_eq!(draw.eligible_rank(order[4]), Some(1));
    assert_eq!(draw.eligible_rank(order[0]), None);
    assert_eq!(draw.holes(order[1], 1), Some(vec![order[0]]));
    // Only as many holes as it takes: of ranks 0, 2 and 3, one brings rank 4 within four, all three within two.
    assert_eq!(draw.holes(order[4], 4), Some(vec![order[0]]));
    assert_eq!(draw.holes(order[4], 2), Some(vec![order[0], order[2], order[3]]));
    assert_eq!(draw.holes(order[4], 1), None);
    assert_eq!(draw.holes(order[4], 5), Some(vec![]));
    assert_eq!(draw.holes(order[0], 6), None);
}

#[test]
fn a_seat_is_eligible_from_its_first_block_to_before_its_last() {
    assert!(!seat(10, 20).is_eligible(9));
    assert!(seat(10, 20).is_eligible(10));
    assert!(seat(10, 20).is_eligible(19));
    assert!(!seat(10, 20).is_eligible(20));
    assert!(!Seat { signer: Address::ZERO, ..seat(10, 20) }.is_eligible(15));
}

proptest! {
    #[test]
    fn the_first_elapsed_block_is_the_first_allowed(rank in 0u32..1000, quorum in 1u8..=16, window in 1u16..=100) {
        let first = first_elapsed(rank, quorum, window);
        prop_assert!(u64::from(rank) < allowed_ranks(first, quorum, window));
        prop_assert!(u64::from(rank) >= allowed_ranks(first - 1, quorum, window));
    }

    #[test]
    fn listed_holes_suffice_and_none_is_idle(seed in any::<u64>(), alive in prop::collection::vec(any::<bool>(), 1..40), allowed in 1u64..8) {
        let seats: Vec<_> = alive.iter().map(|alive| if *alive { seat(0, 9) } else { Seat::default() }).collect();
        let (seed, n) = (seed_of(seed), seats.len() as u32);
        let draw = Draw::new(seed, &seats, 5);
        for index in 0..n {
            let own = u64::from(rank(seed, n, index).unwrap());
            match draw.holes(index, allowed) {
                Some(holes) => {
                    let ranks: Vec<_> = holes.iter().map(|hole| u64::from(rank(seed, n, *hole).unwrap())).collect();
                    prop_assert!(ranks.is_sorted() && ranks.iter().all(|rank| *rank < own));
                    prop_assert!(holes.iter().all(|hole| !alive[*hole as usize]) && alive[index as usize]);
                    prop_assert!(own - (holes.len() as u64) < allowed);
                    prop_assert!(holes.is_empty() || own - (holes.len() as u64) == allowed - 1);
                }
                None => prop_assert!(draw.eligible_rank(index).is_none_or(|rank| u64::from(rank) >= allowed)),
            }
        }
    }
}
