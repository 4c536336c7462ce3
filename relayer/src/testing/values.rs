//! Requests, tasks and logs by number.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    primitives::{Address, B256, Bytes, LogData, aliases::U96, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolEvent,
};

use crate::{
    chain::BlockRef,
    coordinator::abi::InferenceCoordinator as Coordinator,
    domain::Task,
    protocol::{
        Outcome,
        answer::Announced,
        request::{Ask, Filled, InputKind, Level, Request},
        statement::Domain,
    },
};

pub(crate) const MODEL: B256 = B256::repeat_byte(0x11);
pub(crate) const DOMAIN: Domain = Domain { chain_id: 31_337, coordinator: Address::repeat_byte(0xc0) };

pub(crate) fn block(number: u64) -> BlockRef {
    BlockRef { number, hash: keccak256(number.to_be_bytes()) }
}

/// The `nonce`-th request of a consumer, made in block `at`, with one seat.
pub(crate) fn request(nonce: u64, at: u64) -> Request {
    let ask = Ask {
        model_id: MODEL,
        refund_to: Address::repeat_byte(2),
        token: Address::ZERO,
        fee: U96::from(1_000),
        submit_fee: U96::ZERO,
        value_at_risk: U96::ZERO,
        callback_gas_limit: 0,
        deadline_blocks: 500,
        output: crate::protocol::OutputFormat::NATIVE,
        quorum: 1,
        level: Level::Fast,
        input_kind: InputKind::Inline,
    };
    let consumer = Address::repeat_byte(3);
    ask.into_request(&input(nonce), Filled { consumer, nonce, seat_count: 1, version: 0, request_block: at })
}

pub(crate) fn input(nonce: u64) -> Vec<u8> {
    nonce.to_be_bytes().to_vec()
}

pub(crate) fn id(request: &Request) -> B256 {
    request.id(DOMAIN.chain_id, DOMAIN.coordinator)
}

/// A task of block `nonce`.
pub(crate) fn task(nonce: u64) -> Task {
    let request = request(nonce, nonce);
    Task { id: id(&request), request, block: block(nonce) }
}

pub(crate) fn requested(request: &Request) -> LogData {
    let [model_id, _, origin, escrow, payment, terms] = request.to_words();
    Coordinator::Requested {
        requestId: id(request),
        consumer: request.consumer,
        modelId: model_id,
        origin,
        escrow,
        payment,
        terms,
        input: input(request.nonce).into(),
    }
    .encode_log_data()
}

pub(crate) fn fulfilled(request: &Request, seat: u32) -> LogData {
    let seats = Bytes::copy_from_slice(&seat.to_be_bytes());
    let answer = Announced { outcome: Outcome::Ok, seats, output: Bytes::from_static(b"output") }.encode();
    Coordinator::Fulfilled { requestId: id(request), answer }.encode_log_data()
}

pub(crate) fn claimed(request: &Request) -> LogData {
    Coordinator::Claimed { requestIds: vec![id(request)] }.encode_log_data()
}

/// A signed transfer of nothing.
pub(crate) fn transaction(nonce: u64) -> TxEnvelope {
    let transfer = TxEip1559 { chain_id: DOMAIN.chain_id, nonce, gas_limit: 21_000, ..TxEip1559::default() };
    let signature = PrivateKeySigner::random().sign_hash_sync(&transfer.signature_hash()).unwrap();
    transfer.into_signed(signature).into()
}
