use super::{super::tensor::encode, *};

const NATIVE: OutputFormat = OutputFormat::NATIVE;

fn elementwise(atol: &str, rtol: &str) -> Agreement {
    Agreement::Elementwise { atol: atol.parse().unwrap(), rtol: rtol.parse().unwrap() }
}

fn argmax(gap: &str) -> Agreement {
    Agreement::Argmax { gap: gap.parse().unwrap() }
}

fn floats_of(values: &[f32]) -> Bytes {
    encode(&[Tensor::f32(vec![values.len() as u32], values).unwrap()]).unwrap()
}

fn fixed(values: &[i32], decimals: u8) -> Bytes {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    encode(&[Tensor::new(DType::I32, decimals, vec![values.len() as u32], data.into()).unwrap()]).unwrap()
}

fn verdict(a: &Bytes, b: &Bytes, rule: Agreement) -> Verdict {
    compare(a, b, &[rule], NATIVE)
}

#[test]
fn floats_agree_within_the_tolerance() {
    let rule = elementwise("0.5", "0.1");
    assert_eq!(verdict(&floats_of(&[101.0, 0.5]), &floats_of(&[100.0, 0.0]), rule), Verdict::Agree);
    assert_eq!(verdict(&floats_of(&[110.5, 0.0]), &floats_of(&[100.0, 0.0]), rule), Verdict::Agree);
    assert_eq!(verdict(&floats_of(&[110.6, 0.0]), &floats_of(&[100.0, 0.0]), rule), Verdict::Disagree);
    // The tolerance is relative to the re-computed value.
    assert_eq!(verdict(&floats_of(&[100.0]), &floats_of(&[89.5]), rule), Verdict::Disagree);
    assert_eq!(verdict(&floats_of(&[89.5]), &floats_of(&[100.0]), rule), Verdict::Agree);
}

#[test]
fn rounded_numbers_may_differ_by_one_quantum_more() {
    let rule = elementwise("0", "0");
    let format = OutputFormat { width: 4, decimals: 2, mask: 0 };
    assert_eq!(compare(&fixed(&[100, -7], 2), &fixed(&[101, -8], 2), &[rule], format), Verdict::Agree);
    assert_eq!(compare(&fixed(&[100], 2), &fixed(&[102], 2), &[rule], format), Verdict::Disagree);
    assert_eq!(compare(&fixed(&[-1], 2), &fixed(&[1], 2), &[rule], format), Verdict::Disagree);
    // 0.01 more, exactly: 1.00 against 1.02.
    let rule = elementwise("0.01", "0");
    assert_eq!(compare(&fixed(&[100], 2), &fixed(&[102], 2), &[rule], format), Verdict::Agree);
    assert_eq!(compare(&fixed(&[100], 2), &fixed(&[103], 2), &[rule], format), Verdict::Disagree);
}

#[test]
fn a_models_own_integers_have_no_quantum() {
    let rule = elementwise("0", "0");
    assert_eq!(verdict(&fixed(&[1], 0), &fixed(&[2], 0), rule), Verdict::Disagree);
    assert_eq!(verdict(&fixed(&[1], 0), &fixed(&[2], 0), elementwise("1", "0")), Verdict::Agree);
}

#[test]
fn exact_means_every_bit() {
    assert_eq!(verdict(&floats_of(&[0.0]), &floats_of(&[-0.0]), Agreement::Exact), Verdict::Disagree);
    assert_eq!(verdict(&floats_of(&[1.0]), &floats_of(&[1.0]), Agreement::Exact), Verdict::Agree);
}

#[test]
fn winners_are_compared_row_by_row() {
    let rows = |values: &[f32]| encode(&[Tensor::f32(vec![2, 2], values).unwrap()]).unwrap();
    let own = rows(&[0.9, 0.1, 0.5, 0.45]);
    assert_eq!(verdict(&rows(&[0.6, 0.4, 0.51, 0.49]), &own, argmax("0.1")), Verdict::Agree);
    assert_eq!(verdict(&rows(&[0.6, 0.4, 0.49, 0.51]), &own, argmax("0.1")), Verdict::Undecided);
    assert_eq!(verdict(&rows(&[0.6, 0.4, 0.49, 0.51]), &own, argmax("0.01")), Verdict::Disagree);
    assert_eq!(verdict(&rows(&[0.1, 0.9, 0.49, 0.51]), &own, argmax("0.1")), Verdict::Disagree);
}

#[test]
fn winners_of_fixed_point_numbers_are_compared_exactly() {
    let own = fixed(&[100, 90, -5], 2);
    assert_eq!(verdict(&fixed(&[89, 90, -5], 2), &own, argmax("0.1")), Verdict::Disagree);
    assert_eq!(verdict(&fixed(&[89, 90, -5], 2), &own, argmax("0.100000000000000001")), Verdict::Undecided);
    assert_eq!(verdict(&fixed(&[-3, -4, -5], 2), &fixed(&[-1, -2, -9], 2), argmax("0")), Verdict::Agree);
}

#[test]
fn other_types_shapes_and_counts_disagree() {
    let lax = elementwise("1000", "1000");
    assert_eq!(verdict(&floats_of(&[1.0]), &fixed(&[1], 0), lax), Verdict::Disagree);
    assert_eq!(verdict(&fixed(&[1], 0), &fixed(&[1], 1), lax), Verdict::Disagree);
    assert_eq!(verdict(&floats_of(&[1.0]), &floats_of(&[1.0, 1.0]), lax), Verdict::Disagree);
    assert_eq!(verdict(&floats_of(&[f32::NAN]), &floats_of(&[1.0]), lax), Verdict::Disagree);
    assert_eq!(verdict(&Bytes::new(), &floats_of(&[1.0]), lax), Verdict::Disagree);
    let two = encode(&[Tensor::f32(vec![], &[1.0]).unwrap(), Tensor::f32(vec![], &[1.0]).unwrap()]).unwrap();
    assert_eq!(verdict(&two, &floats_of(&[1.0]), lax), Verdict::Disagree);
}

#[test]
fn each_output_that_was_asked_for_has_its_own_rule() {
    let (a, b) = (floats_of(&[1.0]), floats_of(&[1.5]));
    let rules = [Agreement::Exact, elementwise("1", "0")];
    assert_eq!(compare(&a, &b, &rules, OutputFormat { mask: 0b10, ..NATIVE }), Verdict::Agree);
    assert_eq!(compare(&a, &b, &rules, OutputFormat { mask: 0b01, ..NATIVE }), Verdict::Disagree);
    // With both asked for, one tensor is not an answer.
    assert_eq!(compare(&a, &b, &rules, NATIVE), Verdict::Disagree);
}
