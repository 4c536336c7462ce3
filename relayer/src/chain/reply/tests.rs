use serde_json::json;

use super::*;

#[test]
fn a_reply_may_have_both_members_if_one_is_null() {
    let id = json!({ "jsonrpc": "2.0", "id": 1 });
    let with = |member: Value| {
        let mut reply = id.clone();
        reply.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        reply.to_string()
    };
    let good = with(json!({ "result": "0x1", "error": null }));
    assert!(reply(good.as_bytes()).unwrap().as_single().unwrap().is_success());
    let empty = with(json!({ "result": null, "error": null }));
    assert!(reply(empty.as_bytes()).unwrap().as_single().unwrap().is_success());
    let bad = with(json!({ "result": null, "error": { "code": 1, "message": "no" } }));
    assert!(reply(bad.as_bytes()).unwrap().is_error());
    let words = with(json!({ "error": "no" }));
    assert!(reply(words.as_bytes()).unwrap().is_error());
    assert!(reply(format!("[{good}]").as_bytes()).is_ok());
    let both = with(json!({ "result": 1, "error": { "code": 1, "message": "no" } }));
    assert_eq!(reply(both.as_bytes()).unwrap_err().what, "JSON that is no reply of JSON-RPC; check the URL");
}
