//! The vectors that Solidity asserts as well.

use std::path::Path;

use alloy::primitives::{Address, B256, Bytes, aliases::U96};
use half::f16;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Outcome, OutputFormat,
    answer::Announced,
    exact::Finite,
    payout,
    request::{InputKind, Level, Request, RequestWords},
    sortition::{rank, seed},
    statement::{self, Domain, Statement},
    status::Recorded,
    tensor::{self, DType, Tensor, TensorError},
};

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let json = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Tensors {
    valid: Vec<Valid>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Valid {
    name: String,
    hex: Bytes,
    tensors: Vec<Described>,
}

/// Integers are decimal, floats the hex of their bits.
#[derive(Debug, PartialEq, Deserialize)]
struct Described {
    dtype: String,
    decimals: u8,
    shape: Vec<u32>,
    data: Vec<String>,
}

#[derive(Deserialize)]
struct Invalid {
    name: String,
    hex: Bytes,
    reason: String,
}

fn describe(tensor: &Tensor) -> Described {
    let dtype = tensor.dtype();
    let element = |bytes: &[u8]| {
        let mut wide = [if dtype.is_signed() && bytes[0] & 0x80 != 0 { 0xff } else { 0 }; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        match dtype {
            DType::Bool => (bytes[0] == 1).to_string(),
            _ if dtype.is_float() => format!("0x{}", hex::encode(bytes)),
            _ if dtype.is_signed() => i128::from_be_bytes(wide).to_string(),
            _ => u128::from_be_bytes(wide).to_string(),
        }
    };
    let data = match dtype.size() {
        Some(size) => tensor.data().chunks_exact(size).map(element).collect(),
        None => tensor.iter_strings().map(str::to_owned).collect(),
    };
    // The vectors have the names of Solidity's `DType`.
    Described {
        dtype: format!("{dtype:?}").to_lowercase(),
        decimals: tensor.decimals(),
        shape: tensor.shape().to_vec(),
        data,
    }
}

fn reason(error: &TensorError) -> &'static str {
    match error {
        TensorError::Truncated { .. } => "truncated",
        TensorError::TrailingBytes { .. } => "trailing",
        TensorError::TooManyTensors { .. } => "count",
        TensorError::UnknownDType { .. } => "dtype",
        TensorError::DecimalsOutOfRange { .. } => "decimals",
        TensorError::RankTooHigh { .. } => "rank",
        TensorError::InvalidBool { .. } => "bool",
        TensorError::InvalidUtf8 { .. } => "utf8",
        TensorError::ElementCount { .. } => "elements",
    }
}

#[test]
fn valid_tensors_read_as_described_and_write_the_same() {
    let Tensors { valid, .. } = read("tensors.json");
    assert!(!valid.is_empty());
    for Valid { name, hex, tensors } in valid {
        let read = tensor::decode(&hex).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.iter().map(describe).collect::<Vec<_>>(), tensors, "{name}");
        assert_eq!(tensor::encode(&read).unwrap(), hex, "{name}");
    }
}

#[test]
fn invalid_tensors_are_refused_for_the_reason_given() {
    let Tensors { invalid, .. } = read("tensors.json");
    assert!(!invalid.is_empty());
    for Invalid { name, hex, reason: expected } in invalid {
        assert_eq!(tensor::decode(&hex).as_ref().map_err(reason).err(), Some(expected.as_str()), "{name}");
    }
}

#[derive(Deserialize)]
struct Quantise {
    cases: Vec<QuantiseCase>,
}

#[derive(Debug, Deserialize)]
struct QuantiseCase {
    dtype: String,
    bits: String,
    width: u8,
    decimals: u8,
    /// Or `unrepresentable`.
    integer: String,
}

#[test]
fn floats_become_fixed_point_as_everywhere() {
    let Quantise { cases } = read("tensors-quantise.json");
    assert!(!cases.is_empty());
    for case in cases {
        let bits = u64::from_str_radix(case.bits.trim_start_matches("0x"), 16).unwrap();
        let value = match case.dtype.as_str() {
            "f16" => f16::from_bits(bits as u16).to_f64(),
            "f32" => f32::from_bits(bits as u32).into(),
            "f64" => f64::from_bits(bits),
            other => panic!("{other} is no float"),
        };
        let integer = Finite::new(value).and_then(|finite| finite.quantise(case.width, case.decimals));
        let integer = integer.map_or("unrepresentable".to_owned(), |integer| integer.to_string());
        assert_eq!(integer, case.integer, "{case:?}");
    }
}

#[derive(Deserialize)]
struct Cases<T> {
    cases: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestCase {
    name: String,
    chain_id: String,
    coordinator: Address,
    fields: Fields,
    words: RequestWords,
    id: B256,
}

/// Integers of more than 53 bits are decimal text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    model_id: B256,
    input_hash: B256,
    consumer: Address,
    nonce: String,
    seat_count: u32,
    refund_to: Address,
    fee: String,
    token: Address,
    submit_fee: String,
    value_at_risk: String,
    request_block: u64,
    callback_gas_limit: u32,
    output_mask: u16,
    version: u16,
    deadline_blocks: u16,
    input_kind: usize,
    output_width: u8,
    output_decimals: u8,
    quorum: u8,
    level: usize,
}

impl Fields {
    fn request(self) -> Request {
        let u96 = |text: String| U96::from_str_radix(&text, 10).unwrap();
        Request {
            model_id: self.model_id,
            input_hash: self.input_hash,
            consumer: self.consumer,
            nonce: self.nonce.parse().unwrap(),
            seat_count: self.seat_count,
            refund_to: self.refund_to,
            fee: u96(self.fee),
            token: self.token,
            submit_fee: u96(self.submit_fee),
            value_at_risk: u96(self.value_at_risk),
            request_block: self.request_block,
            callback_gas_limit: self.callback_gas_limit,
            output: OutputFormat { width: self.output_width, decimals: self.output_decimals, mask: self.output_mask },
            version: self.version,
            deadline_blocks: self.deadline_blocks,
            input_kind: [InputKind::Inline, InputKind::ChainCall, InputKind::Uri][self.input_kind],
            quorum: self.quorum,
            level: [Level::Fast, Level::Assured][self.level],
        }
    }
}

#[test]
fn requests_have_the_words_and_ids_they_have_everywhere() {
    let Cases { cases } = read::<Cases<RequestCase>>("requests.json");
    assert!(!cases.is_empty());
    for RequestCase { name, chain_id, coordinator, fields, words, id } in cases {
        let request = fields.request();
        assert_eq!(request.to_words(), words, "{name}");
        assert_eq!(Request::from_words(&words), Ok(request.clone()), "{name}");
        assert_eq!(request.id(chain_id.parse().unwrap(), coordinator), id, "{name}");
    }
}

#[derive(Deserialize)]
struct Statements {
    cases: Vec<StatementCase>,
    signers: Vec<SignerCase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatementCase {
    name: String,
    chain_id: String,
    coordinator: Address,
    request_id: B256,
    block_hash: B256,
    input_hash: B256,
    outcome: u8,
    output_commitment: B256,
    seat: u32,
    digest: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignerCase {
    chain_id: String,
    coordinator: Address,
    owner: Address,
    separator: B256,
    digest: B256,
}

#[test]
fn statements_have_the_digests_they_have_everywhere() {
    let Statements { cases, signers } = read("statements.json");
    assert!(!cases.is_empty() && !signers.is_empty());
    for case in cases {
        let domain = Domain { chain_id: case.chain_id.parse().unwrap(), coordinator: case.coordinator };
        let statement = Statement {
            request_id: case.request_id,
            block_hash: case.block_hash,
            input_hash: case.input_hash,
            outcome: case.outcome.try_into().unwrap(),
            output_commitment: case.output_commitment,
            seat: case.seat,
        };
        assert_eq!(statement.digest(domain), case.digest, "{}", case.name);
    }
    for case in signers {
        let domain = Domain { chain_id: case.chain_id.parse().unwrap(), coordinator: case.coordinator };
        assert_eq!(domain.separator(), case.separator);
        assert_eq!(domain.signer_digest(case.owner), case.digest);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultCase {
    name: String,
    outcome: u8,
    seats: Bytes,
    output: Bytes,
    output_commitment: B256,
    fulfilled_at: String,
    /// The bytes of the event.
    answer: Bytes,
    /// What the status word keeps.
    hash: B256,
}

#[test]
fn answers_leave_what_they_leave_everywhere() {
    let Cases { cases } = read::<Cases<ResultCase>>("results.json");
    assert!(cases.iter().any(|case| case.seats.len() == 64));
    for case in cases {
        let ResultCase { name, seats, output, output_commitment, .. } = case;
        let outcome = Outcome::try_from(case.outcome).unwrap();
        let announced = Announced { outcome, seats: seats.clone(), output: output.clone() };
        assert_eq!(announced.encode(), case.answer, "{name}");
        assert_eq!(Announced::decode(&case.answer).unwrap(), announced, "{name}");

        assert_eq!(statement::output_commitment(&output), output_commitment, "{name}");
        let (seats, _) = seats.as_chunks::<4>();
        let seats = seats.iter().map(|seat| u32::from_be_bytes(*seat)).collect();
        let recorded = Recorded { outcome, output_commitment, seats, fulfilled_at: case.fulfilled_at.parse().unwrap() };
        assert_eq!(B256::from(recorded.hash()), case.hash, "{name}");
    }
}

#[derive(Deserialize)]
struct Ranks {
    permutations: Vec<RankCase>,
    pairs: Vec<RankCase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RankCase {
    n: u32,
    block_hash: B256,
    request_id: B256,
    seed: B256,
    /// All of them where none are named.
    seats: Option<Vec<u32>>,
    ranks: Vec<u32>,
}

#[test]
fn seats_have_the_ranks_they_have_everywhere() {
    let Ranks { permutations, pairs } = read("ranks.json");
    assert!(!permutations.is_empty() && !pairs.is_empty());
    for case in permutations.into_iter().chain(pairs) {
        assert_eq!(seed(case.block_hash, case.request_id), case.seed);
        let seats = case.seats.unwrap_or_else(|| (0..case.n).collect());
        let ranks: Vec<_> = seats.iter().map(|seat| rank(case.seed, case.n, *seat).unwrap()).collect();
        assert_eq!(ranks, case.ranks, "n = {}", case.n);
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PayoutCase {
    fee: String,
    submit_fee: String,
    quorum: u8,
    /// Wei by position.
    shares: Vec<String>,
}

#[test]
fn signers_are_paid_the_shares_they_get_everywhere() {
    let Cases { cases } = read::<Cases<PayoutCase>>("payout.json");
    assert!(cases.iter().any(|case| case.quorum > 1));
    let any = read::<Cases<RequestCase>>("requests.json").cases.remove(0).fields.request();
    for case in cases {
        let u96 = |text: &str| U96::from_str_radix(text, 10).unwrap();
        let (fee, submit_fee) = (u96(&case.fee), u96(&case.submit_fee));
        let request = Request { fee, submit_fee, quorum: case.quorum, ..any.clone() };
        let shares: Vec<_> = (0..case.quorum).map(|position| payout::share(&request, position).to_string()).collect();
        assert_eq!(shares, case.shares, "{case:?}");
        assert_eq!(payout::share(&request, case.quorum), 0, "nobody signs there: {case:?}");
    }
}
