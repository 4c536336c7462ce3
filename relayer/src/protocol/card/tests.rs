use super::*;

fn tolerance(text: &str) -> Tolerance {
    text.parse().unwrap()
}

#[test]
fn the_iris_card_has_the_id_its_publisher_computed() {
    // onnx-models/iris/card.json, whose id was computed by another implementation.
    let profile = "onnxruntime=1.30.0;provider=cpu;intra_op=1;inter_op=1;execution=sequential;optimization=basic";
    use sha2::{Digest, Sha256};
    let card = ModelCard {
        file_hash: "0x3cd5ba6a3c683ab6e2557f08d52924281474c99d78afaacfd44347a0b0e5ae0f".parse().unwrap(),
        details_hash: "0x7567b5d75a475c9fb062daf7a8127ddefc9f6d01ec9416be992172617af847b1".parse().unwrap(),
        profile_hash: B256::from_slice(&Sha256::digest(profile)),
        agreement: vec![Agreement::Elementwise { atol: tolerance("0.00001"), rtol: tolerance("0.0001") }],
        verifier: Address::ZERO,
        max_input_bytes: 4108,
        max_output_bytes: 3084,
    };
    let id: B256 = "0xc361ba42721dfc0c6b4d1654b9b47c7ce63fd35a74ad7819d47a6adc41ebe48e".parse().unwrap();
    assert_eq!(card.model_id(), id);
    let mut laxer = card.clone();
    laxer.agreement[0] = Agreement::Elementwise { atol: tolerance("0.00002"), rtol: tolerance("0.0001") };
    assert_ne!(laxer.model_id(), id);
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
