use roxmltree::Document;

use super::*;

fn ask() -> Ask {
    Ask {
        id: "main",
        title: "Service".to_owned(),
        banner: "First\nSecond".to_owned(),
        message: "100 % of <you> & \"me\"\u{1}".to_owned(),
        error: String::new(),
        action: "/sbj".to_owned(),
        opaque: "AbC_-1".to_owned(),
        groups: Some(Groups {
            label: "Department: ".to_owned(),
            options: vec![("sbj".to_owned(), "sbj A".to_owned()), ("ybj".to_owned(), "ybj B".to_owned())],
        }),
        inputs: vec![
            Input { name: "username", label: "Account: ".to_owned(), secret: false },
            Input { name: "password", label: "Password: ".to_owned(), secret: true },
        ],
    }
}

#[test]
fn a_form_is_well_formed_and_says_what_it_was_given() {
    let xml = ask().to_xml(false);
    let document = Document::parse(&xml).unwrap();
    let root = document.root_element();
    assert_eq!((root.tag_name().name(), root.attribute("type")), ("config-auth", Some("auth-request")));
    let text =
        |name: &str| document.descendants().find(|node| node.has_tag_name(name)).and_then(|node| node.text());
    assert_eq!(text("opaque"), Some("AbC_-1"));
    assert_eq!(text("banner"), Some("First\nSecond"));
    // A percent sign would be the place of a parameter.
    assert_eq!(text("message"), Some("100 ％ of <you> & \"me\" "));
    assert_eq!(text("error"), None, "what is empty is not there: clients print it");
    let form = document.descendants().find(|node| node.has_tag_name("form")).unwrap();
    assert_eq!((form.attribute("method"), form.attribute("action")), (Some("post"), Some("/sbj")));
    let kinds: Vec<_> = form.children().filter_map(|node| node.attribute("type")).collect();
    assert_eq!(kinds, ["text", "password"]);
    let options: Vec<_> = form
        .descendants()
        .filter(|node| node.has_tag_name("option"))
        .map(|node| (node.attribute("value"), node.attribute("selected"), node.text()))
        .collect();
    assert_eq!(options, [(Some("sbj"), Some("true"), Some("sbj A")), (Some("ybj"), None, Some("ybj B"))]);
}

#[test]
fn without_inputs_there_is_no_form_and_the_login_ends() {
    let xml = Ask { inputs: Vec::new(), error: "No.".to_owned(), ..ask() }.to_xml(false);
    let document = Document::parse(&xml).unwrap();
    assert!(document.descendants().all(|node| !node.has_tag_name("form")));
    assert!(document.descendants().any(|node| node.has_tag_name("error")));
}

#[test]
fn the_oldest_clients_get_auth_as_the_root() {
    let xml = ask().to_xml(true);
    assert_eq!(Document::parse(&xml).unwrap().root_element().tag_name().name(), "auth");
}

#[test]
fn the_session_is_in_both_places_and_the_connection_ends() {
    let complete = Complete { session: "01".to_owned(), token: "To_-ken".to_owned(), banner: String::new() };
    let answer = complete.answer(false);
    let cookies: Vec<_> = answer.headers().get_all(header::SET_COOKIE).iter().collect();
    assert_eq!(cookies[1], "webvpn=To_-ken; Path=/; Secure; HttpOnly");
    assert_eq!(cookies[0], "webvpncontext=; Path=/; Secure; HttpOnly; Max-Age=0");
    assert_eq!(answer.headers()[header::CONNECTION], "close");
    let xml = String::from_utf8(answer.into_body().to_vec()).unwrap();
    let document = Document::parse(&xml).unwrap();
    let auth = document.descendants().find(|node| node.has_tag_name("auth")).unwrap();
    assert_eq!(auth.attribute("id"), Some("success"));
    let token = document.descendants().find(|node| node.has_tag_name("session-token")).unwrap();
    assert_eq!(token.text(), Some("To_-ken"));
}

#[test]
fn a_gateway_that_is_not_ready_says_when_to_ask_again() {
    let answer = plain(StatusCode::SERVICE_UNAVAILABLE, "TG-3016 not yet");
    assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
    assert_eq!(answer.headers()["x-reason"], "TG-3016 not yet");
}
