use alloy::sol_types::SolValue;
use proptest::prelude::*;

use super::*;

fn any_request() -> impl Strategy<Value = Request> {
    let hashes = (any::<[u8; 32]>(), any::<[u8; 32]>());
    let accounts = (any::<[u8; 20]>(), any::<[u8; 20]>(), any::<[u8; 20]>());
    let money = (any::<[u8; 12]>(), any::<[u8; 12]>(), any::<[u8; 12]>());
    let numbers = (any::<u64>(), any::<u32>(), 0u64..1 << 40, any::<u32>(), any::<u16>(), any::<u16>());
    let format = (any::<u8>(), any::<u8>(), any::<u16>());
    (hashes, accounts, money, numbers, format, any::<u8>(), 0u8..3, 0u8..2).prop_map(
        |(hashes, accounts, money, numbers, format, quorum, kind, level)| Request {
            model_id: hashes.0.into(),
            input_hash: hashes.1.into(),
            consumer: accounts.0.into(),
            nonce: numbers.0,
            seat_count: numbers.1,
            refund_to: accounts.1.into(),
            fee: U96::from_be_bytes(money.0),
            token: accounts.2.into(),
            submit_fee: U96::from_be_bytes(money.1),
            value_at_risk: U96::from_be_bytes(money.2),
            request_block: numbers.2,
            callback_gas_limit: numbers.3,
            output: OutputFormat { width: format.0, decimals: format.1, mask: format.2 },
            version: numbers.4,
            deadline_blocks: numbers.5,
            input_kind: [InputKind::Inline, InputKind::ChainCall, InputKind::Uri][kind as usize],
            quorum,
            level: [Level::Fast, Level::Assured][level as usize],
        },
    )
}

proptest! {
    #[test]
    fn six_words_read_back_as_the_request(request in any_request()) {
        prop_assert_eq!(Request::from_words(&request.to_words()), Ok(request));
    }

    #[test]
    fn the_id_is_the_hash_of_the_abi_encoding(request in any_request(), chain in any::<u64>(), at in any::<[u8; 20]>()) {
        let at = Address::from(at);
        let encoded = (U256::from(chain), at, request.to_words()).abi_encode();
        prop_assert_eq!(request.id(chain, at), keccak256(encoded));
    }

    #[test]
    fn every_field_changes_the_id(a in any_request(), b in any_request()) {
        prop_assert_eq!(a == b, a.id(1, Address::ZERO) == b.id(1, Address::ZERO));
    }
}

#[test]
fn another_chain_or_coordinator_gives_another_id() {
    let words = RequestWords::default();
    let here = request_id(&words, 1, Address::ZERO);
    assert_ne!(here, request_id(&words, 2, Address::ZERO));
    assert_ne!(here, request_id(&words, 1, Address::repeat_byte(1)));
}

#[test]
fn unknown_kinds_and_levels_are_refused() {
    let mut words = RequestWords::default();
    words[5].0[27] = 3;
    assert_eq!(Request::from_words(&words), Err(RequestError::UnknownInputKind(3)));
    words[5].0[27] = 2;
    words[5].0[31] = 2;
    assert_eq!(Request::from_words(&words), Err(RequestError::UnknownLevel(2)));
}

#[test]
fn fields_lie_where_the_page_puts_them() {
    let mut request = Request::from_words(&RequestWords::default()).unwrap();
    request.nonce = 1;
    request.seat_count = 2;
    request.fee = U96::from(3);
    request.request_block = 4;
    request.callback_gas_limit = 5;
    request.output = OutputFormat { width: 8, decimals: 9, mask: 6 };
    request.version = 7;
    request.deadline_blocks = 10;
    request.quorum = 11;
    let words = request.to_words();
    let tail = |word: usize, bytes: usize| hex::encode(&words[word][32 - bytes..]);
    assert_eq!(tail(2, 12), "000000000000000100000002");
    assert_eq!(tail(3, 12), "000000000000000000000003");
    assert_eq!(
        tail(5, 20),
        "0000000004".to_owned() + "00000005" + "0006" + "0007" + "000a" + "00" + "08" + "09" + "0b" + "00"
    );
}
