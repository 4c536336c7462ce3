use super::*;
use crate::protocol::tensor::{DType, Tensor, encode};

#[test]
fn amounts_are_decimal_eth() {
    assert_eq!(parse_eth("0.001").unwrap(), U96::from(1_000_000_000_000_000u64));
    assert_eq!(parse_eth("0").unwrap(), U96::ZERO);
    for wrong in ["", "-1", "1 ether", "99999999999999999999", "0.0000000000000000001"] {
        assert!(parse_eth(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn only_loopback_hosts_are_local() {
    for (url, local) in [
        ("http://127.0.0.1:8545", true),
        ("ws://localhost:1", true),
        ("http://[::1]:8545", true),
        ("https://127.0.0.1.example.org", false),
        ("https://rpc.example.org", false),
    ] {
        assert_eq!(is_loopback(&url.parse().unwrap()), local, "{url}");
    }
}

#[test]
fn outputs_get_the_names_of_those_that_were_asked_for() {
    let port = |name: &str| json!({ "name": name, "datatype": "FP32", "shape": [1] });
    let details = serde_json::from_value(json!({ "inputs": [], "outputs": [port("a"), port("b")] })).unwrap();
    let number: Bytes = 1_500_000i32.to_be_bytes().into();
    let output = encode(&[Tensor::new(DType::I32, 6, vec![1], number).unwrap()]).unwrap();
    let second = OutputFormat { width: 4, decimals: 6, mask: 2 };
    let named = named_outputs(&output, second, Some(&details)).unwrap();
    assert_eq!((&named[0]["name"], &named[0]["data"]), (&json!("b"), &json!([1.5])));
    assert_eq!(named_outputs(&output, second, None).unwrap()[0]["name"], "output1");
}
