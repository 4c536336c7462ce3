//! Meaning of a revert, to the node and to people: each error of the coordinator is listed once, with both.

use std::fmt;

use alloy::sol_types::{self, SolError, SolInterface};

use super::abi::{
    InferenceConsumer::NotCoordinator, InferenceCoordinator::InferenceCoordinatorErrors as Errors,
    TensorError::TensorErrorErrors as TensorErrors,
};
use crate::text::{cut, eth, one_line};

/// Hex digits of an unknown error that are shown: its selector and two words.
const SHOWN: usize = 136;

/// Reason of a revert, as far as the node acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevertReason {
    /// The request is not open: somebody answered it, or its escrow went back.
    NotOpen,
    /// The deadline of the request passed.
    Expired,
    /// Not yet: in the request's own block, before the rank's window, or before the vesting block.
    TooEarly,
    /// The gas limit is too small.
    Gas,
    /// The node's seats or blocks are not the chain's, as after a reorganisation.
    Stale,
    /// Anything else. For an answer or a claim that is a fault of the node's own.
    Other,
}

/// A decoded revert. Its display is one sentence, with a remedy where there is one, and behind it the name under which
/// `docs/errors.md` lists the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    /// Reason as far as the node acts on it.
    pub reason: RevertReason,
    sentence: String,
}

impl Revert {
    /// Reads revert data, the coordinator's or any other.
    #[must_use]
    pub fn decode(data: &[u8]) -> Self {
        if let Ok(error) = Errors::abi_decode(data) {
            let (reason, sentence) = meaning(&error);
            let name = Errors::name_by_selector(error.selector()).unwrap_or_default();
            return Self { reason, sentence: format!("{sentence} ({name})") };
        }
        let sentence = if data.is_empty() {
            "the contract reverts without a reason".into()
        } else if let Ok(revert) = sol_types::Revert::abi_decode(data) {
            format!("the contract reverts: {}", one_line(&revert.reason))
        } else if let Ok(panic) = sol_types::Panic::abi_decode(data) {
            format!("the contract panics: {panic}")
        } else if let Ok(error) = TensorErrors::abi_decode(data) {
            let name = TensorErrors::name_by_selector(error.selector()).unwrap_or_default();
            format!("the contract reads or builds packed tensors that are not so ({name}; docs/errors.md says more)")
        } else if NotCoordinator::abi_decode(data).is_ok() {
            "the consumer has another coordinator (NotCoordinator)".into()
        } else {
            let shown = cut(&hex::encode(data), SHOWN);
            format!("the contract reverts with 0x{shown}, an error that is not the coordinator's")
        };
        Self { reason: RevertReason::Other, sentence }
    }

    /// The revert of a call whose gas limit the endpoint finds too small.
    #[must_use]
    pub fn out_of_gas() -> Self {
        Self { reason: RevertReason::Gas, sentence: "the gas limit is too small".into() }
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Revert data in one sentence, for people.
#[must_use]
pub fn explain(data: &[u8]) -> String {
    Revert::decode(data).sentence
}

/// Meaning of each error. There is no arm for the rest: an error that is not listed does not compile.
fn meaning(error: &Errors) -> (RevertReason, String) {
    use RevertReason as Reason;
    match error {
        // Fulfillment.
        Errors::NotOpen(e) => {
            (Reason::NotOpen, format!("the request {} is not open: never made, answered, or refunded", e.requestId))
        }
        Errors::DeadlinePassed(e) => (
            Reason::Expired,
            format!("the deadline has passed: it was block {}, this is block {}", e.deadline, e.blockNumber),
        ),
        Errors::SameBlock(_) => {
            (Reason::TooEarly, "a request cannot be answered in its own block; wait for the next".into())
        }
        Errors::RankTooHigh(e) => (
            Reason::TooEarly,
            format!(
                "the seat has rank {}, and only ranks below {} may answer yet; wait for its window",
                e.rank, e.allowed
            ),
        ),
        Errors::InsufficientGas(e) => (
            Reason::Gas,
            format!("{} gas is left for the callback, which needs {}; raise the gas limit", e.available, e.needed),
        ),
        Errors::WrongSignature(e) => {
            (Reason::Stale, format!("the signature of seat {} is not that of its key over this answer", e.seat))
        }
        Errors::SeatNotEligible(e) => {
            (Reason::Stale, format!("seat {} may not answer: it has no key, joined too late, or left", e.seat))
        }
        Errors::NotAHole(e) => (Reason::Stale, format!("seat {} is listed as a hole, but is eligible", e.seat)),
        Errors::UnknownSeat(e) => {
            (Reason::Stale, format!("seat {} did not exist at the request, which had {} seats", e.seat, e.seatCount))
        }
        Errors::BlockHashUnavailable(e) => {
            (Reason::Stale, format!("the hash of block {} is out of the contract's reach", e.blockNumber))
        }
        Errors::WrongAttestationCount(e) => {
            (Reason::Other, format!("{} signatures are given, and the request wants {}", e.given, e.quorum))
        }
        Errors::NotAscending(e) => {
            (Reason::Other, format!("seat {} is out of order: seats and holes ascend by rank, each once", e.seat))
        }
        Errors::UnexpectedOutput(_) => {
            (Reason::Other, "an answer with another outcome than Ok carries no output".into())
        }

        // Claims and deliveries.
        Errors::TooEarly(e) => {
            (Reason::TooEarly, format!("too early: this is block {}, wait for block {}", e.blockNumber, e.needed))
        }
        Errors::ResultMismatch(e) => {
            (Reason::Stale, format!("the result of {} is not what the chain recorded; read it again", e.requestId))
        }
        Errors::AlreadyDelivered(e) => (Reason::Other, format!("the answer to {} is delivered already", e.requestId)),
        Errors::NoCallback(e) => (Reason::Other, format!("the request {} asked for no callback", e.requestId)),
        Errors::NotConsumer(e) => (
            Reason::Other,
            format!(
                "{} is not the request's consumer, which alone may redeliver after the vesting block; call the \
                 consumer's own function for it",
                e.caller
            ),
        ),
        Errors::DeadlineNotPassed(e) => (
            Reason::Other,
            format!("the deadline has not passed: it is block {} and this is block {}", e.deadline, e.blockNumber),
        ),
        Errors::Locked(_) => {
            (Reason::Other, "the coordinator is in the middle of a call; a callback may only make requests".into())
        }

        // Requests.
        Errors::UnknownModel(e) => {
            (Reason::Other, format!("the model {} is not registered with this coordinator", e.modelId))
        }
        Errors::NotOffered(e) => (Reason::Other, format!("this version does not offer {} yet", feature(e.feature))),
        Errors::Paused(_) => (Reason::Other, "the coordinator is paused: no requests and no new seats for now".into()),
        Errors::WrongPayment(e) => (
            Reason::Other,
            format!("{} ETH came with the request, but its fees are {} ETH", eth(e.sent), eth(e.needed)),
        ),
        Errors::InsufficientBalance(e) => (
            Reason::Other,
            format!(
                "the balance of {} in the coordinator is {} ETH, but {} ETH are needed; deposit more",
                e.account,
                eth(e.balance),
                eth(e.needed)
            ),
        ),
        Errors::NotAllowed(e) => (
            Reason::Other,
            format!(
                "{} lets {} spend {} ETH per request, but {} ETH are needed; it can `allow` more",
                e.account,
                e.consumer,
                eth(e.cap),
                eth(e.needed)
            ),
        ),
        Errors::ZeroQuorum(_) => (Reason::Other, "a request needs at least one signer; write a quorum of 1".into()),
        Errors::QuorumTooLarge(e) => {
            (Reason::Other, format!("{} signers are asked for; at most {} are allowed", e.quorum, e.max))
        }
        Errors::TooFewSeats(e) => (
            Reason::Other,
            format!("the model has {} live seats, but {} must sign; wait for nodes to join", e.live, e.quorum),
        ),
        Errors::DeadlineOutOfRange(e) => {
            (Reason::Other, format!("a deadline of {} blocks: write {} to {}", e.blocks, e.min, e.max))
        }
        Errors::InputTooLarge(e) => {
            (Reason::Other, format!("the input has {} bytes, but the model takes {}", e.length, e.max))
        }
        Errors::CallbackGasTooLarge(e) => {
            (Reason::Other, format!("{} gas for the callback: at most {} are allowed", e.gasLimit, e.max))
        }
        Errors::InvalidOutputFormat(e) => (
            Reason::Other,
            format!(
                "outputs of {} bytes with {} decimals: the width is 1, 2, 4, 8 or 16 with up to 36 decimals, or 0 with none",
                e.width, e.decimals
            ),
        ),
        Errors::InvalidAccount(e) => (
            Reason::Other,
            format!(
                "nobody could withdraw what is credited to {}; name another account, neither zero nor the coordinator",
                e.account
            ),
        ),

        // Nodes and models.
        Errors::NoSigner(e) => {
            (Reason::Other, format!("{} has no signing key; `oraculum node register` first", e.owner))
        }
        Errors::SignerNotProven(e) => (Reason::Other, format!("the key {} did not sign for {}", e.signer, e.owner)),
        Errors::SignerTaken(e) => {
            (Reason::Other, format!("the signing key {} belongs to the node of {}; make another", e.signer, e.owner))
        }
        Errors::WrongBond(e) => {
            (Reason::Other, format!("{} ETH sent, but the bond of a seat is {} ETH", eth(e.sent), eth(e.bond)))
        }
        Errors::NotSeatOwner(e) => (Reason::Other, format!("seat {} belongs to {}", e.index, e.owner)),
        Errors::SeatNotFree(e) => (Reason::Other, format!("seat {} is not free", e.index)),
        Errors::SeatNotReady(e) => (
            Reason::Other,
            format!("seat {} is not in the state that this needs: it is empty, leaving, or live already", e.index),
        ),
        Errors::NameTaken(e) => (Reason::Other, format!("the name `{}` belongs to {}", e.name, e.owner)),
        Errors::InvalidName(e) => {
            (Reason::Other, format!("`{}` is no name: names are 1 to 64 of a-z, 0-9, `.`, `_`, `-` and `/`", e.name))
        }
        Errors::InvalidCard(e) => {
            (Reason::Other, format!("the model's card breaks the rule of its field `{}`", e.field))
        }

        // Money and governance.
        Errors::TransferFailed(e) => (Reason::Other, format!("{} does not take {} ETH", e.to, eth(e.amount))),
        Errors::NotOwner(e) => (Reason::Other, format!("{} does not own the coordinator", e.caller)),
        Errors::ScheduleExpired(e) => (
            Reason::Other,
            format!(
                "the scheduled parameters could be applied up to block {}, and this is block {}; schedule them again",
                e.lastBlock, e.blockNumber
            ),
        ),
        Errors::NothingScheduled(_) => (Reason::Other, "no change of parameters is scheduled".into()),
        Errors::ParameterOutOfBounds(e) => {
            (Reason::Other, format!("the parameter `{}` is {}, but must be {} to {}", e.name, e.value, e.min, e.max))
        }
    }
}

fn feature(code: u8) -> &'static str {
    ["this kind of input", "fees in tokens", "more than one signer", "Level.Assured", "value at risk", "verifiers"]
        .get(usize::from(code))
        .copied()
        .unwrap_or("this")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use alloy::{
        json_abi::JsonAbi,
        primitives::{Address, U256},
    };

    use super::{
        super::abi::{InferenceCoordinator as Coordinator, TensorError},
        *,
    };

    #[test]
    fn every_error_of_the_artifact_is_named_and_has_a_sentence_of_its_own() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/artifacts/InferenceCoordinator.json");
        let artifact: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let abi: JsonAbi = serde_json::from_value(artifact["abi"].clone()).unwrap();
        let mut sentences = HashSet::new();
        for error in abi.errors() {
            // All arguments zero; texts are empty.
            let data = [error.selector().as_slice(), &[0; 32 * 8]].concat();
            let sentence = explain(&data);
            let name = format!(" ({})", error.name);
            let sentence = sentence.strip_suffix(&name).unwrap_or_else(|| panic!("{sentence} does not name {name}"));
            assert!(sentences.insert(sentence.to_owned()), "{} is explained as another error is", error.name);
        }
        assert_eq!(sentences.len(), Errors::SELECTORS.len());
    }

    #[test]
    fn errors_of_the_coordinator_become_sentences() {
        let wrong = Coordinator::WrongBond { sent: U256::ZERO, bond: U256::from(10).pow(U256::from(16)) };
        assert_eq!(explain(&wrong.abi_encode()), "0 ETH sent, but the bond of a seat is 0.01 ETH (WrongBond)");
        let offered = Coordinator::NotOffered { feature: 2 };
        assert_eq!(explain(&offered.abi_encode()), "this version does not offer more than one signer yet (NotOffered)");
        let owner = Coordinator::NotOwner { caller: Address::ZERO };
        assert!(explain(&owner.abi_encode()).ends_with("does not own the coordinator (NotOwner)"));
    }

    #[test]
    fn the_node_acts_on_what_it_can_wait_for_and_fails_on_the_rest() {
        let hash = alloy::primitives::B256::ZERO;
        for (data, reason) in [
            (Coordinator::NotOpen { requestId: hash }.abi_encode(), RevertReason::NotOpen),
            (Coordinator::SameBlock {}.abi_encode(), RevertReason::TooEarly),
            (Coordinator::NotAHole { seat: 1 }.abi_encode(), RevertReason::Stale),
            (Coordinator::ResultMismatch { requestId: hash }.abi_encode(), RevertReason::Stale),
            (Coordinator::UnexpectedOutput {}.abi_encode(), RevertReason::Other),
            (vec![1, 2, 3, 4], RevertReason::Other),
        ] {
            assert_eq!(Revert::decode(&data).reason, reason);
        }
    }

    #[test]
    fn foreign_and_missing_errors_are_said_to_be_so() {
        assert!(explain(&[]).contains("without a reason"));
        assert!(explain(&[1, 2, 3, 4]).contains("0x01020304"));
        assert_eq!(explain(&sol_types::Revert::from("no").abi_encode()), "the contract reverts: no");
        let panic = sol_types::Panic::from(sol_types::PanicKind::UnderOverflow).abi_encode();
        assert!(explain(&panic).contains("panics") && explain(&panic).contains("overflow"), "{}", explain(&panic));
        let element = TensorError::NoSuchElement { index: U256::from(7), length: U256::ONE };
        assert!(explain(&element.abi_encode()).contains("(NoSuchElement; docs/errors.md"));
        assert!(explain(&NotCoordinator { caller: Address::ZERO }.abi_encode()).contains("another coordinator"));
    }
}
