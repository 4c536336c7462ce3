use alloy::signers::local::PrivateKeySigner;

use super::*;

fn domain() -> Domain {
    Domain { chain_id: 31337, coordinator: Address::repeat_byte(0xc0) }
}

fn statement() -> Statement {
    Statement {
        request_id: B256::repeat_byte(1),
        block_hash: B256::repeat_byte(2),
        input_hash: B256::repeat_byte(3),
        outcome: Outcome::BadInput,
        output_commitment: output_commitment(&[]),
        seat: 7,
    }
}

/// EIP-712 by hand, from the page alone.
fn digest_by_hand(struct_hash: B256) -> B256 {
    let type_hash = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    let separator = keccak256(
        [
            type_hash.0,
            keccak256("Oraculum").0,
            keccak256("2").0,
            U256::from(domain().chain_id).to_be_bytes(),
            domain().coordinator.into_word().0,
        ]
        .concat(),
    );
    assert_eq!(separator, domain().separator());
    keccak256([&[0x19, 0x01][..], separator.as_slice(), struct_hash.as_slice()].concat())
}

#[test]
fn the_digest_is_what_the_page_says() {
    let s = statement();
    let type_hash = keccak256(
        "Statement(bytes32 requestId,bytes32 blockHash,bytes32 inputHash,uint8 outcome,bytes32 outputCommitment,uint32 seat)",
    );
    let [outcome, seat] = [1, 7].map(|number| U256::from(number).to_be_bytes());
    let words = [type_hash.0, s.request_id.0, s.block_hash.0, s.input_hash.0, outcome, s.output_commitment.0, seat];
    assert_eq!(s.digest(domain()), digest_by_hand(keccak256(words.concat())));
}

#[test]
fn the_proof_of_a_key_is_what_the_page_says() {
    let owner = Address::repeat_byte(7);
    let struct_hash = keccak256([keccak256("Signer(address owner)").0, owner.into_word().0].concat());
    assert_eq!(domain().signer_digest(owner), digest_by_hand(struct_hash));
}

#[test]
fn a_signature_recovers_to_its_signer_and_only_over_its_statement() {
    let signer = PrivateKeySigner::random();
    let signature = statement().sign(domain(), &signer).unwrap();
    assert_eq!(signature.recover(statement().digest(domain())), Some(signer.address()));
    let elsewhere = [
        statement().digest(Domain { chain_id: 1, ..domain() }),
        statement().digest(Domain { coordinator: Address::ZERO, ..domain() }),
        Statement { request_id: B256::ZERO, ..statement() }.digest(domain()),
        Statement { block_hash: B256::ZERO, ..statement() }.digest(domain()),
        Statement { input_hash: B256::ZERO, ..statement() }.digest(domain()),
        Statement { outcome: Outcome::Ok, ..statement() }.digest(domain()),
        Statement { output_commitment: B256::ZERO, ..statement() }.digest(domain()),
        Statement { seat: 8, ..statement() }.digest(domain()),
    ];
    for digest in elsewhere {
        assert_ne!(signature.recover(digest), Some(signer.address()));
    }
}

#[test]
fn both_parities_survive_the_compact_form() {
    let mut seen = [false; 2];
    for i in 0u8..32 {
        let digest = B256::repeat_byte(i);
        let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(i + 1)).unwrap();
        let full = signer.sign_hash_sync(&digest).unwrap();
        seen[usize::from(full.v())] = true;
        assert_eq!(CompactSignature::from(full).recover(digest), Some(signer.address()));
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn a_malleable_or_empty_signature_is_nobodys() {
    let signer = PrivateKeySigner::random();
    let digest = statement().digest(domain());
    let good = signer.sign_hash_sync(&digest).unwrap();
    let order: U256 = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
    let high = order - good.s();
    // The only high values below 2^255, which is where the parity begins.
    let forged = CompactSignature { r: good.r().into(), vs: B256::from((order >> 1) + U256::from(1)) };
    assert_eq!(forged.recover(digest), None);
    assert!(CompactSignature { vs: B256::from(order >> 1), ..forged }.recover(digest).is_some());
    assert_eq!(CompactSignature { r: B256::ZERO, vs: B256::ZERO }.recover(digest), None);
    assert_eq!(CompactSignature { r: B256::repeat_byte(0xff), vs: B256::repeat_byte(1) }.recover(digest), None);
    // And a high signature is made low when it is packed.
    let twin = Signature::new(good.r(), high, !good.v());
    assert_eq!(CompactSignature::from(twin), CompactSignature::from(good));
}
