use proptest::prelude::*;

use super::*;

/// As openconnect 9.01 sends it, folded.
const INIT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<config-auth client="vpn" type="init" aggregate-auth-version="2"><version who="vpn">v9.01-3</version><device-id>linux-64</device-id>
<capabilities><auth-method>single-sign-on-v2</auth-method></capabilities>
<group-access>https://localhost:8443/sbj</group-access><group-select>sbj</group-select></config-auth>
"#;

const REPLY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<config-auth client="vpn" type="auth-reply"><version who="vpn">v9.01-3</version><device-id>linux-64</device-id>
<opaque is-for="sg">AbC_-1</opaque><auth><username>wang&amp;fang</username><password>中&lt;&#x37;</password><empty/></auth>
<group-select></group-select></config-auth>
"#;

#[test]
fn a_beginning_may_name_a_group() {
    let said = Said::parse(INIT.as_bytes()).unwrap();
    assert_eq!((said.at, said.group.as_deref(), said.opaque), (At::Beginning, Some("sbj"), None));
    let said = Said::parse(b" \r\n").unwrap();
    assert_eq!((said.at, said.group), (At::Beginning, None));
    let said = Said::parse(b"<config-auth type='logout'/>").unwrap();
    assert_eq!(said.at, At::Leaving);
}

#[test]
fn an_answer_has_fields_and_what_was_handed_out() {
    let said = Said::parse(REPLY.as_bytes()).unwrap();
    assert_eq!((said.at, said.group, said.opaque.as_deref()), (At::Answering, None, Some("AbC_-1")));
    assert_eq!((said.form.get("username"), said.form.get("password")), ("wang&fang", "中<7"));
    assert!(said.form.has("empty") && !said.form.has("newpw1"));
    let said = Said::parse(b"group_list=sbj&username=wangfang&password=a%2Bb").unwrap();
    assert_eq!((said.at, said.group.as_deref()), (At::Answering, Some("sbj")));
    assert_eq!((said.form.get("username"), said.form.get("password")), ("wangfang", "a+b"));
}

#[test]
fn what_is_typed_is_in_no_log() {
    let shown = format!("{:?}", Said::parse(REPLY.as_bytes()).unwrap());
    assert!(shown.contains("password") && !shown.contains("中<7"), "{shown}");
    assert!(!shown.contains("AbC_-1"), "a right to set a password: {shown}");
}

#[test]
fn bombs_and_rubbish_are_refused() {
    let entity = r#"<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><config-auth type="init"><group-select>&b;</group-select></config-auth>"#;
    let outside = r#"<!DOCTYPE x SYSTEM "file:///etc/passwd"><config-auth type="init"/>"#;
    let deep = format!("{}{}", "<a>".repeat(2_000), "</a>".repeat(2_000));
    let wide = format!("<config-auth type='init'>{}</config-auth>", "<a/>".repeat(1_000));
    let fields =
        format!("<config-auth type='auth-reply'><auth>{}</auth></config-auth>", "<f>x</f>".repeat(17));
    let field =
        format!("<config-auth type='auth-reply'><auth><f>{}</f></auth></config-auth>", "x".repeat(1_025));
    let opaque =
        format!("<config-auth type='auth-reply'><opaque>{}</opaque></config-auth>", "x".repeat(2_049));
    let attributes: String =
        (0..1_000).map(|number| format!(" x:{number:x}=''").replace(":", ":a")).collect();
    let spaces = format!("<config-auth type='init' xmlns:x='{}'{attributes}/>", "u".repeat(2_000));
    for bad in [
        &spaces,
        entity,
        outside,
        &deep,
        &wide,
        &fields,
        &field,
        &opaque,
        "<config-auth type='init'>",
        "<config-auth/>",
        "<config-auth type='other'/>",
        "<other type='init'/>",
        "<config-auth type='init'>&unknown;</config-auth>",
        "<",
        "username=%ff",
    ] {
        let shown: String = bad.chars().take(60).collect();
        assert_eq!(Said::parse(bad.as_bytes()).unwrap_err(), Code::FormInvalid, "{shown}");
    }
    assert_eq!(Said::parse(b"<config-auth type='init'>\xff</config-auth>").unwrap_err(), Code::FormInvalid);
    assert_eq!(Said::parse(&[b'<'; BODY_BYTES_MAX + 1]).unwrap_err(), Code::BodyTooLarge);
}

proptest! {
    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Said::parse(&bytes);
    }

    #[test]
    fn any_change_to_an_answer_is_no_panic(at in 0..REPLY.len(), byte in any::<u8>()) {
        let mut bytes = REPLY.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = Said::parse(&bytes);
    }
}
