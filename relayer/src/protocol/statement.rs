//! What a seat signs: an EIP-712 statement that is worth the same whoever carries it to the chain.

use alloy::{
    primitives::{Address, B256, Signature, U256, keccak256},
    signers::SignerSync,
    sol,
    sol_types::{Eip712Domain, SolStruct, eip712_domain},
};
use serde::{Deserialize, Serialize};

use super::Outcome;

mod typed {
    #![allow(missing_docs, reason = "generated code")]
    super::sol! {
        struct Statement {
            bytes32 requestId;
            bytes32 blockHash;
            bytes32 inputHash;
            uint8 outcome;
            bytes32 outputCommitment;
            uint32 seat;
        }
        struct Signer {
            address owner;
        }
    }
}

/// Where a signature counts: one coordinator on one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Domain {
    /// The chain's id.
    pub chain_id: u64,
    /// The coordinator's address.
    pub coordinator: Address,
}

impl Domain {
    fn eip712(self) -> Eip712Domain {
        eip712_domain! {
            name: "Oraculum",
            version: "2",
            chain_id: self.chain_id,
            verifying_contract: self.coordinator,
        }
    }

    /// The EIP-712 domain separator.
    pub fn separator(self) -> B256 {
        self.eip712().separator()
    }

    /// What a signing key signs to prove itself for a node's owner: `Signer(address owner)`.
    pub fn signer_digest(self, owner: Address) -> B256 {
        typed::Signer { owner }.eip712_signing_hash(&self.eip712())
    }
}

/// What was asked, on which chain state, on which tensors, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Statement {
    /// The request's id.
    pub request_id: B256,
    /// The hash of the request's block.
    pub block_hash: B256,
    /// keccak256 of the packed tensors fed to the model.
    pub input_hash: B256,
    /// What was found.
    pub outcome: Outcome,
    /// keccak256 of the output bytes; of no bytes unless `Ok`.
    pub output_commitment: B256,
    /// The signer's seat: the signature counts for no other.
    pub seat: u32,
}

impl Statement {
    /// The digest that a seat signs.
    pub fn digest(&self, domain: Domain) -> B256 {
        typed::Statement {
            requestId: self.request_id,
            blockHash: self.block_hash,
            inputHash: self.input_hash,
            outcome: self.outcome as u8,
            outputCommitment: self.output_commitment,
            seat: self.seat,
        }
        .eip712_signing_hash(&domain.eip712())
    }

    /// Signs the statement.
    ///
    /// # Errors
    /// What the signer fails with; a key in memory does not.
    pub fn sign(&self, domain: Domain, signer: &impl SignerSync) -> Result<CompactSignature, alloy::signers::Error> {
        Ok(signer.sign_hash_sync(&self.digest(domain))?.into())
    }
}

/// The commitment to output bytes.
pub fn output_commitment(output: &[u8]) -> B256 {
    keccak256(output)
}

/// A signature in EIP-2098 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CompactSignature {
    /// The x coordinate of the nonce's point.
    pub r: B256,
    /// The parity in the highest bit, `s` below it.
    pub vs: B256,
}

impl From<Signature> for CompactSignature {
    fn from(signature: Signature) -> Self {
        let signature = signature.normalized_s();
        let vs: U256 = signature.s() | U256::from(signature.v()) << 255;
        Self { r: signature.r().into(), vs: vs.into() }
    }
}

impl CompactSignature {
    /// Whose signature over `digest` this is; `None` if it is nobody's, or not in the lower half order.
    pub fn recover(&self, digest: B256) -> Option<Address> {
        let vs = U256::from_be_bytes(self.vs.0);
        let signature = Signature::new(self.r.into(), vs & (U256::MAX >> 1), vs.bit(255));
        if signature.normalize_s().is_some() {
            return None;
        }
        // The precompile answers zero where there is no signer, and so must nothing here.
        signature.recover_address_from_prehash(&digest).ok().filter(|address| !address.is_zero())
    }
}

#[cfg(test)]
mod tests;
