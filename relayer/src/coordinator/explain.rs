//! The contracts' errors in sentences.

use alloy::{
    primitives::{Bytes, U256},
    sol_types::{Revert, SolError, SolInterface},
};

use super::abi::InferenceCoordinator::InferenceCoordinatorErrors as Errors;

/// What a revert means and what to do about it.
pub fn explain(data: &Bytes) -> String {
    if data.is_empty() {
        return "the contract reverts without a reason".into();
    }
    if let Ok(revert) = Revert::abi_decode(data) {
        return format!("the contract reverts: {}", revert.reason);
    }
    match Errors::abi_decode(data) {
        Ok(error) => sentence(&error),
        Err(_) => format!("the contract reverts with {data}, an error that is not the coordinator's"),
    }
}

fn sentence(error: &Errors) -> String {
    use Errors::*;
    match error {
        UnknownModel(e) => format!("the model {} is not registered with this coordinator", e.modelId),
        NameTaken(e) => format!("the name `{}` belongs to {}", e.name, e.owner),
        InvalidName(e) => format!("`{}` is no name: names are 1 to 64 of a-z, 0-9, `.`, `_`, `-` and `/`", e.name),
        InvalidCard(e) => format!("the model's card breaks the rule of its field `{}`", e.field),
        NotOffered(e) => format!("this version does not offer {} yet", feature(e.feature)),
        Paused(_) => "the coordinator is paused: no requests and no new seats for now".into(),

        WrongPayment(e) => format!("{} ETH came with the request, but its fees are {} ETH", eth(e.sent), eth(e.needed)),
        InsufficientBalance(e) => format!(
            "the balance of {} in the coordinator is {} ETH, but {} ETH are needed; deposit more",
            e.account,
            eth(e.balance),
            eth(e.needed)
        ),
        NotAllowed(e) => format!(
            "{} lets {} spend {} ETH per request, but {} ETH are needed; it can `allow` more",
            e.account,
            e.consumer,
            eth(e.cap),
            eth(e.needed)
        ),
        TooFewSeats(e) => {
            format!("the model has {} live seats, but {} must sign; wait for nodes to join", e.live, e.quorum)
        }
        DeadlineOutOfRange(e) => format!("a deadline of {} blocks: write {} to {}", e.blocks, e.min, e.max),
        InputTooLarge(e) => format!("the input has {} bytes, but the model takes {}", e.length, e.max),
        CallbackGasTooLarge(e) => format!("{} gas for the callback: at most {} are allowed", e.gasLimit, e.max),
        InvalidOutputFormat(e) => format!(
            "outputs of {} bytes with {} decimals: the width is 1, 2, 4, 8 or 16 with up to 36 decimals, or 0 with none",
            e.width, e.decimals
        ),
        NotOpen(e) => format!("the request {} is not open: never made, answered, or refunded", e.requestId),
        DeadlineNotPassed(e) => {
            format!("the deadline has not passed: it is block {} and this is block {}", e.deadline, e.blockNumber)
        }
        AlreadyPaid(e) => format!("the answer to {} is paid already", e.requestId),

        NoSigner(e) => format!("{} has no signing key; `oraculum node register` first", e.owner),
        SignerNotProven(e) => format!("the key {} did not sign for {}", e.signer, e.owner),
        SignerTaken(e) => format!("the signing key {} belongs to the node of {}; make another", e.signer, e.owner),
        WrongBond(e) => format!("{} ETH sent, but the bond of a seat is {} ETH", eth(e.sent), eth(e.bond)),
        NotSeatOwner(e) => format!("seat {} belongs to {}", e.index, e.owner),
        SeatNotFree(e) => format!("seat {} is not free", e.index),
        SeatNotReady(e) => {
            format!("seat {} is not in the state that this needs: it is empty, leaving, or live already", e.index)
        }
        TooEarly(e) => format!("too early: this is block {}, wait for block {}", e.blockNumber, e.needed),
        TransferFailed(e) => format!("{} does not take {} ETH", e.to, eth(e.amount)),
        other => format!("the coordinator refuses: {other:?}"),
    }
}

fn feature(code: u8) -> &'static str {
    ["this kind of input", "fees in tokens", "more than one signer", "Level.Assured", "value at risk", "verifiers"]
        .get(usize::from(code))
        .copied()
        .unwrap_or("this")
}

/// Wei as ETH, exactly.
fn eth(wei: U256) -> String {
    let text = alloy::primitives::utils::format_ether(wei);
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::abi::InferenceCoordinator as Coordinator;
    use super::*;
    use alloy::primitives::Address;

    #[test]
    fn errors_of_the_coordinator_become_sentences() {
        let wrong = Coordinator::WrongBond { sent: U256::ZERO, bond: U256::from(10).pow(U256::from(16)) };
        assert_eq!(explain(&wrong.abi_encode().into()), "0 ETH sent, but the bond of a seat is 0.01 ETH");
        let offered = Coordinator::NotOffered { feature: 2 };
        assert_eq!(explain(&offered.abi_encode().into()), "this version does not offer more than one signer yet");
        let owner = Coordinator::NotOwner { caller: Address::ZERO };
        assert!(explain(&owner.abi_encode().into()).contains("NotOwner"));
    }

    #[test]
    fn foreign_and_missing_errors_are_said_to_be_so() {
        assert!(explain(&Bytes::new()).contains("without a reason"));
        assert!(explain(&Bytes::from_static(&[1, 2, 3, 4])).contains("0x01020304"));
        assert_eq!(explain(&Revert::from("no").abi_encode().into()), "the contract reverts: no");
    }
}
