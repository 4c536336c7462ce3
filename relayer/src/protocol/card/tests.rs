use oraculum_judge::Profile;
use sha2::{Digest, Sha256};

use super::*;

fn tolerance(text: &str) -> Tolerance {
    text.parse().unwrap()
}

/// onnx-models/iris/card.json, but for the rule of its output.
fn iris(rule: Agreement) -> ModelCard {
    ModelCard {
        file_hash: "0x3cd5ba6a3c683ab6e2557f08d52924281474c99d78afaacfd44347a0b0e5ae0f".parse().unwrap(),
        details_hash: "0xbe892ae8a466d7827c697e0f4286714b7f159d72ce24eb9cdef7a04c37583d27".parse().unwrap(),
        profile_hash: B256::from_slice(&Sha256::digest(Profile::EXACT.to_string())),
        agreement: vec![rule],
        verifier: Address::ZERO,
        max_input_bytes: 4108,
        max_output_bytes: 3084,
    }
}

#[test]
fn cards_have_the_ids_that_another_implementation_computed() {
    // By onnx-models/train/card.py; the first is in the shipped card.
    for (rule, id) in [
        (Agreement::Exact, "0x671cff562fd8d63d003a1615be68c915e32d28cfd2ffd74384ec3d873b7897af"),
        (
            Agreement::Elementwise { atol: tolerance("0.00001"), rtol: tolerance("0.0001") },
            "0x4b851d383777a7ed57fc073defb96c50b28284b1f12a09ed29d61387cf8cce48",
        ),
        (
            Agreement::Argmax { gap: tolerance("0.001") },
            "0xf5de177c37059c7a1793ea42541e1c3dd192cf3368f287faa5e4de2f68ea0600",
        ),
    ] {
        assert_eq!(iris(rule).model_id().to_string(), id);
    }
}

#[test]
fn tolerances_are_exact_decimals() {
    assert_eq!(tolerance("0.00001"), Tolerance(10_000_000_000_000));
    assert_eq!(tolerance("2"), Tolerance(2 * UNIT));
    assert_eq!(tolerance("0.000000000000000001"), Tolerance(1));
    for text in ["0", "1", "0.5", "12.000000000000000001", "0.0001"] {
        assert_eq!(tolerance(text).to_string(), text);
    }
}

#[test]
fn other_texts_are_no_tolerances() {
    let too_large = "9".repeat(22);
    for text in
        ["", ".", "1.", ".5", "-1", "+1", "1e-5", "0.0000000000000000001", "0,1", "1.2.3", " 1", "1.+5", &too_large]
    {
        assert!(text.parse::<Tolerance>().is_err(), "{text}");
    }
}
