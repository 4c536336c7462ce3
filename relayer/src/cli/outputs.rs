//! A model's outputs, as people read them.

use serde_json::Value;

use crate::{oip::OipTensor, protocol::cast::show_dims, text};

/// Labels that a row shows at most; the least are left out.
const SHOWN_LABELS: usize = 5;

/// The lines that show an output: a row of values that `labels` name each in a line, the largest first; else its values.
pub(super) fn lines(output: &OipTensor, labels: &[String]) -> Vec<String> {
    let OipTensor { name, shape, datatype, data, .. } = output;
    let head = format!("{} {datatype} {}", text::shown(name), show_dims(shape));
    let elements = data.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(rows) = named_rows(shape, elements, labels) {
        let several = rows.len() > 1;
        let row = |(index, row): (usize, String)| match several {
            true => format!("{head} row {index}: {row}"),
            false => format!("{head}: {row}"),
        };
        return rows.into_iter().enumerate().map(row).collect();
    }
    vec![format!("{head}: {data}")]
}

/// Whether `labels` name what is in an output.
pub(super) fn is_labelled(output: &OipTensor, labels: &[String]) -> bool {
    let elements = output.data.as_array().map(Vec::as_slice).unwrap_or_default();
    named_rows(&output.shape, elements, labels).is_some()
}

/// The rows of an output, with labels: of a row with as many numbers as there are labels, each number's; of whole numbers
/// that are places among the labels, theirs. `None` if the labels are not of this output.
fn named_rows(shape: &[u32], elements: &[Value], labels: &[String]) -> Option<Vec<String>> {
    if labels.len() < 2 || elements.is_empty() {
        return None;
    }
    if shape.last().is_some_and(|last| usize::try_from(*last) == Ok(labels.len())) {
        return elements.chunks(labels.len()).map(|row| by_size(row, labels)).collect();
    }
    let place = |element: &Value| labels.get(usize::try_from(element.as_u64()?).ok()?);
    let named = |element: &Value| Some(format!("{} ({element})", text::shown(place(element)?)));
    // One place for each row.
    let single = shape.iter().skip(1).all(|dim| *dim == 1);
    if single { elements.iter().map(named).collect() } else { None }
}

/// The labels of a row with their values, the largest first.
fn by_size(row: &[Value], labels: &[String]) -> Option<String> {
    let value = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let mut named: Vec<(f64, &String)> =
        row.iter().zip(labels).map(|(number, label)| Some((value(number)?, label))).collect::<Option<_>>()?;
    named.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let shown: Vec<_> = named
        .iter()
        .take(SHOWN_LABELS)
        .map(|(value, label)| format!("{} {}", text::shown(label), short(*value)))
        .collect();
    let rest = match named.len().saturating_sub(SHOWN_LABELS) {
        0 => String::new(),
        rest => format!(", {rest} more"),
    };
    Some(shown.join(", ") + &rest)
}

/// A number with at most six decimals.
fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.000_000_5 {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.6}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(shape: &[u32], datatype: &str, data: Value) -> Vec<String> {
        let labels = ["setosa", "versicolor", "virginica"].map(str::to_owned);
        lines(&OipTensor::new("y".into(), shape.to_vec(), datatype.into(), data), &labels)
    }

    #[test]
    fn the_winner_comes_first_with_its_label() {
        assert_eq!(
            shown(&[1, 3], "FP64", json!([0.001298, 0.998634, 0])),
            ["y FP64 [1,3]: versicolor 0.998634, setosa 0.001298, virginica 0"]
        );
        assert_eq!(
            shown(&[2, 3], "INT32", json!([3, 2, 1, -1, 0, 5])),
            [
                "y INT32 [2,3] row 0: setosa 3, versicolor 2, virginica 1",
                "y INT32 [2,3] row 1: virginica 5, versicolor 0, setosa -1"
            ]
        );
        assert_eq!(
            shown(&[3], "FP32", json!(["NaN", 0.5, 1e-9])),
            ["y FP32 [3]: setosa NaN, versicolor 0.5, virginica 1e-9"]
        );
    }

    #[test]
    fn a_place_among_the_labels_has_its_label() {
        assert_eq!(shown(&[1], "INT64", json!([1])), ["y INT64 [1]: versicolor (1)"]);
    }

    #[test]
    fn what_labels_do_not_name_is_shown_as_it_is() {
        assert_eq!(shown(&[1], "INT64", json!([7])), ["y INT64 [1]: [7]"]);
        assert_eq!(shown(&[1, 2], "FP32", json!([0.5, 1.5])), ["y FP32 [1,2]: [0.5,1.5]"]);
        assert_eq!(shown(&[1, 1], "FP32", json!([0.5])), ["y FP32 [1,1]: [0.5]"]);
        assert_eq!(shown(&[0, 3], "FP32", json!([])), ["y FP32 [0,3]: []"]);
    }

    #[test]
    fn a_label_writes_no_line_of_its_own() {
        let labels = ["a\nb", "\u{1b}[2J"].map(str::to_owned);
        let output = OipTensor::new("y".into(), vec![2], "FP32".into(), json!([1, 2]));
        assert_eq!(lines(&output, &labels), ["y FP32 [2]: \\u{1b}[2J 2, a\\nb 1"]);
    }
}
