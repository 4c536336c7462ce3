use super::*;

#[test]
fn a_status_records_one_answer() {
    let answer =
        Recorded { outcome: Outcome::Ok, output_commitment: B256::repeat_byte(4), seats: vec![3, 1], fulfilled_at: 99 };
    assert_eq!(answer.packed_seats().as_ref(), [0, 0, 0, 3, 0, 0, 0, 1]);
    let status = Status(answer.hash() << 8 | U256::from(0b0110));
    assert!(status.exists() && status.is_fulfilled() && status.is_delivered());
    assert!(!status.is_open() && !status.is_paid() && !status.is_refunded());
    assert!(status.records(&answer));
    assert!(!status.records(&Recorded { fulfilled_at: 98, ..answer.clone() }));
    assert!(!status.records(&Recorded { outcome: Outcome::BadInput, ..answer.clone() }));
    assert!(!status.records(&Recorded { seats: vec![1, 3], ..answer }));
}

#[test]
fn open_and_refunded_are_bare_flags() {
    assert!(Status(U256::from(1)).is_open());
    assert!(Status(U256::from(16)).is_refunded());
    assert!(!Status(U256::ZERO).exists());
}
