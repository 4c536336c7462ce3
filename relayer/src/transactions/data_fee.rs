//! What the chain asks for a transaction's bytes besides gas, as OP-style chains do for those of the chain below.

use alloy::{
    primitives::{Address, Bytes, U256, address, keccak256},
    sol_types::{SolCall, SolValue},
};

use super::{CallOutcome, Transactions};
use crate::{
    chain::{At, Call, Chain},
    journal::Journal,
};

/// Where OP-style chains tell what a transaction's bytes cost on the chain below.
const DATA_FEE_ORACLE: Address = address!("420000000000000000000000000000000000000F");
/// Bytes whose fee is asked for.
const SAMPLE: usize = 1_000;

alloy::sol! {
    /// Wei for the bytes of a signed transaction.
    function getL1Fee(bytes data) external view returns (uint256);
}

/// The chain's data fee; zero where it asks for none.
#[derive(Debug, Default)]
pub(super) struct DataFee {
    /// Wei per byte.
    pub(super) per_byte: u128,
    /// Whether the chain tells of one.
    has_oracle: bool,
}

impl DataFee {
    /// Takes in a reading; one that failed changes nothing.
    pub(super) fn take_in(&mut self, per_byte: Option<u128>) {
        self.per_byte = per_byte.unwrap_or(self.per_byte);
    }
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Finds out whether the chain asks for its transactions' bytes, and how much.
    pub(super) async fn find_data_fee(&mut self) {
        self.data_fee.has_oracle = self.node.chain.code(DATA_FEE_ORACLE).await.is_ok_and(|code| !code.is_empty());
        if self.data_fee.has_oracle {
            self.data_fee.take_in(read_data_fee(&*self.node.chain).await);
        }
    }

    /// Reads the data fee again, where there is one.
    pub(super) fn ask_data_fee(&mut self) {
        if self.data_fee.has_oracle {
            let chain = self.node.chain.clone();
            self.tasks.push(Box::pin(async move { CallOutcome::DataFee(read_data_fee(&*chain).await) }));
        }
    }
}

/// The data fee of a byte, rounded up, from that of a thousand bytes that do not compress.
async fn read_data_fee<C: Chain>(chain: &C) -> Option<u128> {
    let call = Call { from: None, to: Some(DATA_FEE_ORACLE), data: sample_call(), gas: None, block: None };
    let answer = chain.call(&call, At::Latest).await.ok()?;
    let fee = U256::abi_decode(&answer).ok()?;
    u128::try_from(fee.div_ceil(U256::from(SAMPLE))).ok()
}

/// Calldata that asks for the fee of the sample.
pub(super) fn sample_call() -> Bytes {
    let mut sample = Vec::with_capacity(SAMPLE + 32);
    while sample.len() < SAMPLE {
        sample.extend_from_slice(keccak256(sample.len().to_be_bytes()).as_slice());
    }
    sample.truncate(SAMPLE);
    getL1FeeCall { data: sample.into() }.abi_encode().into()
}
