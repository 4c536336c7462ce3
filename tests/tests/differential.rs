//! Solidity and Rust implement `docs/protocol.md` independently; here they answer the same random questions, Solidity on
//! a real Anvil. The seed is printed and can be set with `TEST_SEED`.

#![allow(clippy::expect_used)] // a test's helpers may fail loudly, as tests may

use alloy::primitives::{Address, B256, Bytes, U256, aliases::U96};
use oraculum::protocol::{
    Outcome, OutputFormat,
    request::{InputKind, Level, Request},
    sortition,
    statement::{Domain, Statement},
    tensor::{self, DType, Tensor},
};
use oraculum_tests::{
    Res,
    abi::{InferenceCoordinator::Request as Words, TensorHarness},
    anvil::Anvil,
    deployment::Deployment,
    seed,
};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng, seq::IndexedRandom};

fn word(rng: &mut StdRng) -> B256 {
    let mut word = B256::ZERO;
    rng.fill_bytes(word.as_mut_slice());
    word
}

/// An integer of up to 96 bits, the edges often among them.
fn amount(rng: &mut StdRng) -> U96 {
    match rng.random_range(0..4) {
        0 => U96::ZERO,
        1 => U96::MAX,
        _ => U96::from(rng.random::<u128>() >> 32),
    }
}

fn request(rng: &mut StdRng) -> Request {
    Request {
        model_id: word(rng),
        input_hash: word(rng),
        consumer: Address::from_word(word(rng)),
        nonce: rng.random(),
        seat_count: rng.random(),
        refund_to: Address::from_word(word(rng)),
        fee: amount(rng),
        token: Address::from_word(word(rng)),
        submit_fee: amount(rng),
        value_at_risk: amount(rng),
        request_block: rng.random::<u64>() >> 24,
        callback_gas_limit: rng.random(),
        output: OutputFormat { width: rng.random(), decimals: rng.random(), mask: rng.random() },
        version: rng.random(),
        deadline_blocks: rng.random(),
        input_kind: *[InputKind::Inline, InputKind::ChainCall, InputKind::Uri].choose(rng).expect("not empty"),
        quorum: rng.random(),
        level: if rng.random() { Level::Fast } else { Level::Assured },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn solidity_and_rust_agree_on_ids_statements_and_ranks() -> Res<()> {
    let anvil = Anvil::start().await?;
    let deployment = Deployment::open(&anvil.local.ws_url()).await?;
    let (coordinator, domain) = (&deployment.coordinator, deployment.domain);
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..300 {
        let request = request(&mut rng);
        let [model_id, input_hash, origin, escrow, payment, terms] = request.to_words();
        let words = Words { modelId: model_id, inputHash: input_hash, origin, escrow, payment, terms };
        let id = coordinator.requestIdOf(words).call().await?;
        assert_eq!(id, request.id(domain.chain_id, domain.coordinator), "{request:?}");

        let statement = Statement {
            request_id: id,
            block_hash: word(&mut rng),
            input_hash: request.input_hash,
            outcome: *[Outcome::Ok, Outcome::BadInput, Outcome::Unrepresentable].choose(&mut rng).expect("not empty"),
            output_commitment: word(&mut rng),
            seat: rng.random(),
        };
        let Statement { block_hash, outcome, output_commitment, seat, .. } = statement;
        let digest =
            coordinator.digestOf(id, block_hash, input_hash, outcome as u8, output_commitment, seat).call().await?;
        assert_eq!(digest, statement.digest(domain), "{statement:?}");
        let elsewhere = Domain { chain_id: domain.chain_id + 1, ..domain };
        assert_ne!(digest, statement.digest(elsewhere));

        let n =
            if rng.random() { rng.random_range(1..=40) } else { 1 + (rng.random::<u32>() >> rng.random_range(1..31)) };
        let seat = rng.random_range(0..n);
        let rank = coordinator.rankOf(id, statement.block_hash, seat, n).call().await?;
        let ours = sortition::rank(sortition::seed(statement.block_hash, id), n, seat).expect("the seat is below n");
        assert_eq!(rank, U256::from(ours), "n = {n}, seat = {seat}");
    }
    Ok(())
}

/// A valid list of random tensors, strings of several alphabets among them.
fn tensors(rng: &mut StdRng) -> Vec<Tensor> {
    use DType::{Bool, F16, F32, F64, I8, I16, I32, I64, I128, U8, U16, U32, U64, U128};
    let one = |rng: &mut StdRng| {
        let rank = rng.random_range(0..4);
        let shape: Vec<u32> = (0..rank).map(|_| rng.random_range(0..4)).collect();
        let elements = shape.iter().product::<u32>() as usize;
        if rng.random_ratio(1, 6) {
            let texts: Vec<&str> = (0..elements)
                .map(|_| *["", "a", "žluťoučký", "日本", "🙂\u{10ffff}"].choose(rng).expect("not empty"))
                .collect();
            return Tensor::strings(shape, &texts);
        }
        let dtype =
            *[I8, I16, I32, I64, I128, U8, U16, U32, U64, U128, F16, F32, F64, Bool].choose(rng).expect("not empty");
        let mut data = vec![0; elements * dtype.size().expect("no string")];
        rng.fill_bytes(&mut data);
        if dtype == Bool {
            data.iter_mut().for_each(|byte| *byte &= 1);
        }
        let decimals = if dtype.is_integer() { rng.random_range(0..=36) } else { 0 };
        Tensor::new(dtype, decimals, shape, data.into())
    };
    (0..rng.random_range(0..4)).map(|_| one(rng).expect("valid by construction")).collect()
}

/// Changes a few bytes, or cuts, or extends.
fn spoil(rng: &mut StdRng, packed: &mut Vec<u8>) {
    match rng.random_range(0..4) {
        0 => packed.truncate(rng.random_range(0..=packed.len())),
        1 => packed.push(rng.random()),
        _ => {
            for _ in 0..rng.random_range(1..3) {
                if let Some(i) = (!packed.is_empty()).then(|| rng.random_range(0..packed.len().min(24))) {
                    // Small numbers are what type codes, ranks and dims are made of.
                    packed[i] = if rng.random() { rng.random_range(0..20) } else { rng.random() };
                }
            }
        }
    }
}

/// A revert is an answer; anything else that goes wrong is an error of the test.
fn answered<T>(result: Result<T, alloy::contract::Error>) -> Res<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.as_revert_data() {
            Some(data) if data.len() >= 4 => Ok(None),
            _ => Err(error.into()),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn solidity_and_rust_accept_the_same_tensors_and_read_the_same_from_them() -> Res<()> {
    let anvil = Anvil::start().await?;
    let deployment = Deployment::open(&anvil.local.ws_url()).await?;
    let harness = TensorHarness::deploy(deployment.provider.clone()).await?;
    let mut rng = StdRng::seed_from_u64(seed());
    let (mut valid, mut refused) = (0, 0);
    for round in 0..1_500 {
        let list = tensors(&mut rng);
        let mut packed = tensor::encode(&list)?.to_vec();
        if round % 3 != 0 {
            spoil(&mut rng, &mut packed);
        }
        let packed = Bytes::from(packed);
        let ours = tensor::decode(&packed);
        let theirs = answered(harness.decode(packed.clone()).call().await)?;
        assert_eq!(ours.is_ok(), theirs.is_some(), "Rust says {ours:?} of {packed}");
        let (Ok(ours), Some(theirs)) = (ours, theirs) else {
            refused += 1;
            continue;
        };
        valid += 1;
        assert_eq!(ours.len(), theirs.len(), "{packed}");
        for (a, b) in ours.iter().zip(&theirs) {
            assert_eq!((a.dtype() as u8, a.decimals()), (b.dtype, b.decimals), "{packed}");
            assert!(a.shape().iter().map(|d| U256::from(*d)).eq(b.shape.iter().copied()), "{packed}");
            let elements: Vec<Bytes> = match a.dtype().size() {
                Some(size) => a.data().chunks(size).map(Bytes::copy_from_slice).collect(),
                None => a.iter_strings().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect(),
            };
            assert_eq!(elements, b.elements, "{packed}");
        }
        assert_eq!(tensor::encode(&ours)?, packed, "one byte string per value");
        assert_eq!(harness.encode(theirs).call().await?, packed, "one byte string per value");
    }
    assert!(valid > 400 && refused > 400, "both kinds are tried: {valid} valid, {refused} refused");
    Ok(())
}
