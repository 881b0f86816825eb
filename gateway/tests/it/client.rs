//! Logging in from a VPN client, as the clients of the OpenConnect family do it.

use bytes::Bytes;
use http::{Method, StatusCode};
use rustls::pki_types::ServerName;
use tidegate_core::AccountState;
use tidegate_core::session::Kind;
use tidegate_gateway::cookie::{self, Session};
use tidegate_store::{Outcome, Store as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::browser::{Browser, Page};
use crate::login::login;
use crate::world::{CODE, OTHER_PASSWORD, PASSWORD, PORTAL, World, change_account, until};

/// A client that speaks XML.
fn client(world: &World) -> Browser {
    speaking_xml(world.browser())
}

/// A client that speaks XML, in the place of a browser.
pub(crate) fn speaking_xml(mut client: Browser) -> Browser {
    client.headers = vec![
        ("user-agent", "Open AnyConnect VPN Agent v9.01-3".to_owned()),
        ("x-transcend-version", "1".to_owned()),
        ("x-aggregate-auth", "1".to_owned()),
        ("accept", "*/*".to_owned()),
    ];
    client
}

/// A client that sends forms.
fn plain_client(world: &World) -> Browser {
    let mut client = client(world);
    client.headers.retain(|(name, _)| *name != "x-aggregate-auth");
    client
}

async fn post(client: &mut Browser, path: &str, body: String) -> Page {
    let headers = [("content-type", "application/xml; charset=utf-8")];
    client.send(Method::POST, PORTAL, path, &headers, Bytes::from(body)).await
}

async fn init(client: &mut Browser, path: &str, group: &str) -> Page {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<config-auth client=\"vpn\" type=\"init\" \
         aggregate-auth-version=\"2\"><version who=\"vpn\">v9.01-3</version><device-id>linux-64</device-id>\
         <group-access>https://localhost{path}</group-access><group-select>{group}</group-select></config-auth>"
    );
    post(client, path, body).await
}

/// Answers the form on `page` as a client would: to its action, with what it handed out.
pub(crate) async fn answer(client: &mut Browser, page: &Page, group: &str, fields: &[(&str, &str)]) -> Page {
    let fields: String = fields.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    let opaque = match between(&page.body, "<opaque is-for=\"sg\">", "</opaque>") {
        "" => String::new(),
        opaque => format!("<opaque is-for=\"sg\">{opaque}</opaque>"),
    };
    let body = format!(
        "<config-auth client=\"vpn\" type=\"auth-reply\">{opaque}<auth>{fields}</auth>\
         <group-select>{group}</group-select></config-auth>"
    );
    post(client, between(&page.body, "action=\"", "\""), body).await
}

pub(crate) async fn log_in(client: &mut Browser, path: &str, user: &str, password: &str) -> Page {
    let form = init(client, path, "").await;
    answer(client, &form, "", &[("username", user), ("password", password)]).await
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).map_or("", |(_, rest)| rest);
    rest.split_once(after).map_or("", |(found, _)| found)
}

/// The session a client was given.
fn session(world: &World, client: &Browser) -> Option<Session> {
    let value = client.cookie(PORTAL, cookie::WEBVPN)?;
    Some(Session::open(&world.ring, cookie::TUNNEL, value).expect("the pool's own"))
}

#[tokio::test]
async fn name_and_password_give_a_sealed_ticket_of_kind_tunnel() {
    let world = World::start().await;
    let mut client = client(&world);
    let form = init(&mut client, "/sbj", "").await;
    assert_eq!(form.status, StatusCode::OK);
    assert_eq!(form.headers["content-type"], "text/xml; charset=utf-8");
    // The department is known by the path: no list, its own notice, its own language.
    assert!(form.says("type=\"auth-request\"") && !form.says("group_list"), "{}", form.body);
    assert!(form.says("<banner>第一段\n第二段</banner>") && form.says("市社会保险服务中心"), "{}", form.body);
    assert!(form.says("action=\"/sbj\""));
    let done = answer(&mut client, &form, "", &[("username", "WangFang"), ("password", PASSWORD)]).await;
    assert!(done.says("type=\"complete\"") && done.says("<auth id=\"success\">"), "{}", done.body);
    assert_eq!(done.headers["connection"], "close", "the tunnel comes on a connection of its own");
    let opened = session(&world, &client).expect("a session");
    assert_eq!(opened.ticket.kind, Kind::Tunnel);
    assert_eq!(opened.ticket.account.to_string(), "sbj/wangfang");
    assert_eq!(
        between(&done.body, "<session-token>", "</session-token>"),
        client.cookie(PORTAL, cookie::WEBVPN).unwrap()
    );
    let recorded = async || world.audit().contains("\"logon_type\":\"tunnel\"").then_some(());
    until(recorded).await;
    // What opens a tunnel opens no page, and the other way round.
    let mut browser = world.browser();
    browser.set_cookie(PORTAL, cookie::SESSION, client.cookie(PORTAL, cookie::WEBVPN));
    assert_ne!(browser.get(PORTAL, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_password_is_a_form_again_and_guessers_wait_at_both_faces() {
    let world = World::start().await;
    let mut client = client(&world);
    let page = log_in(&mut client, "/sbj", "wangfang", "wrong-Password-1").await;
    assert_eq!((page.status, page.code()), (StatusCode::OK, "TG-1001"));
    assert!(page.says("没有登录：账号或密码不对。") && page.says("<form"), "{}", page.body);
    let fields = [("username", "wangfang"), ("password", PASSWORD)];
    let done = answer(&mut client, &page, "", &fields).await;
    assert!(done.says("type=\"complete\""), "{}", done.body);
    for user in ["wangfang", "nobody", "王芳", "wangfang@nowhere"] {
        let page = log_in(&mut client, "/sbj", user, "wrong-Password-1").await;
        assert_eq!(page.code(), "TG-1001", "{user}");
    }
    let page = log_in(&mut client, "/sbj", "wangfang", "wrong-Password-1").await;
    assert_eq!(page.code(), "TG-1001");
    let page = login(&mut world.browser(), "wangfang", PASSWORD).await;
    assert_eq!(page.code(), "TG-1001", "the portal counts with the client");
    world.clock.advance(61);
    let done = log_in(&mut client, "/sbj", "wangfang", PASSWORD).await;
    assert!(done.says("type=\"complete\""), "{}", done.body);
}

#[tokio::test]
async fn the_department_is_chosen_by_list_label_path_or_name() {
    let world = World::start().await;
    for (path, group, user) in [
        ("/", "ybj", "zhao"),
        ("/", "ybj 市医疗保障局", "zhao"),
        ("/", "City Medical Insurance Bureau", "zhao"),
        ("/ybj", "", "zhao"),
        ("/ybj/", "", "zhao"),
        ("/", "", "zhao@ybj"),
        ("/sbj", "", "zhao@ybj"),
        ("/nowhere", "", "zhao@ybj"),
    ] {
        let mut client = client(&world);
        let form = init(&mut client, path, group).await;
        let listed = path == "/" || path == "/nowhere";
        assert_eq!(form.says("<select name=\"group_list\""), listed, "{path}: {}", form.body);
        if !group.is_empty() {
            assert!(form.says("<option value=\"ybj\" selected=\"true\">ybj 市医疗保障局<"), "{}", form.body);
        }
        assert_eq!(form.code(), if path == "/nowhere" { "TG-2014" } else { "" }, "{}", form.body);
        let fields = [("username", user), ("password", PASSWORD)];
        let done = answer(&mut client, &form, group, &fields).await;
        assert!(done.says("type=\"complete\""), "{path} {group} {user}: {}", done.body);
    }
    let mut nobody = client(&world);
    assert_eq!(log_in(&mut nobody, "/", "zhao", PASSWORD).await.code(), "TG-1009", "whose zhao?");
}

#[tokio::test]
async fn a_password_that_must_change_is_changed_before_anything_else() {
    let mut world = World::start().await;
    world.settle_intents();
    let mut client = client(&world);
    let form = log_in(&mut client, "/sbj", "must", PASSWORD).await;
    assert!(form.says("name=\"newpw1\"") && form.says("name=\"newpw2\""), "{}", form.body);
    assert_eq!(session(&world, &client), None);
    let differs = [("newpw1", OTHER_PASSWORD), ("newpw2", PASSWORD)];
    let form = answer(&mut client, &form, "", &differs).await;
    assert!(form.says("两次输入的新密码不一样") && form.code() == "TG-1009", "{}", form.body);
    let form = answer(&mut client, &form, "", &[("newpw1", "short"), ("newpw2", "short")]).await;
    assert!(form.says("至少 8 位") && form.code() == "TG-1004", "{}", form.body);
    let form = answer(&mut client, &form, "", &[("newpw1", PASSWORD), ("newpw2", PASSWORD)]).await;
    assert!(form.says("最近 5 次") && form.code() == "TG-1004", "{}", form.body);
    let good = [("newpw1", OTHER_PASSWORD), ("newpw2", OTHER_PASSWORD)];
    let done = answer(&mut client, &form, "", &good).await;
    assert!(done.says("type=\"complete\""), "{}", done.body);
    assert!(session(&world, &client).is_some());
    // The right to set it is spent, and what is no right is none.
    let page = answer(&mut client, &form, "", &good).await;
    assert_eq!(page.code(), "TG-1006", "{}", page.body);
    let page = post(
        &mut client,
        "/sbj",
        "<config-auth type=\"auth-reply\"><opaque>forged</opaque><auth><newpw1>x</newpw1></auth></config-auth>".to_owned(),
    )
    .await;
    assert_eq!(page.code(), "TG-1010", "{}", page.body);
}

#[tokio::test]
async fn a_code_in_the_place_of_the_password_sets_the_first_one_on_any_gateway() {
    let mut world = World::start().await;
    world.settle_intents();
    let another = world.another();
    let mut here = client(&world);
    let page = log_in(&mut here, "/sbj", "new", "AAAA-AAAA-AAAA-AAAA").await;
    assert_eq!(page.code(), "TG-1001");
    let form = log_in(&mut here, "/sbj", "new", &CODE.to_lowercase()).await;
    assert!(form.says("name=\"newpw1\"") && form.says("激活码正确"), "{}", form.body);
    // The next step lands elsewhere: all it needs is what the client hands back.
    let mut there = here.at(another.address());
    let good = [("newpw1", OTHER_PASSWORD), ("newpw2", OTHER_PASSWORD)];
    let done = answer(&mut there, &form, "", &good).await;
    assert!(done.says("type=\"complete\""), "{}", done.body);
    let page = log_in(&mut here, "/sbj", "new", CODE).await;
    assert_eq!(page.code(), "TG-1001", "a code works once");
    let done = log_in(&mut here, "/sbj", "new", OTHER_PASSWORD).await;
    assert!(done.says("type=\"complete\""), "{}", done.body);
    another.shutdown().await;
}

#[tokio::test]
async fn a_right_to_set_a_password_is_one_accounts_and_no_answer_makes_it_last_longer() {
    let world = World::start().await;
    let differs = [("newpw1", OTHER_PASSWORD), ("newpw2", PASSWORD)];
    let mut client = client(&world);
    let form = log_in(&mut client, "/sbj", "must", PASSWORD).await;
    // An account that comes later is another, though it has the name, and the password, of the one before.
    change_account(&world.store, "must", |account| {
        account.source.uid = "uid-later".parse().expect("a uid");
    })
    .await;
    let page = until(async || {
        let page = answer(&mut client, &form, "", &differs).await;
        (page.code() != "TG-1009").then_some(page)
    })
    .await;
    assert_eq!(page.code(), "TG-1006", "{}", page.body);
    // Twice ten minutes are more than a quarter of an hour, whatever was answered in between.
    let form = log_in(&mut client, "/sbj", "must", PASSWORD).await;
    world.clock.advance(600);
    let form = answer(&mut client, &form, "", &differs).await;
    assert!(form.says("name=\"newpw1\"") && form.says("<error"), "{}", form.body);
    world.clock.advance(600);
    let page = answer(&mut client, &form, "", &differs).await;
    assert_eq!(page.code(), "TG-1010", "{}", page.body);
}

#[tokio::test]
async fn who_is_suspended_while_the_password_is_saved_is_told_so_and_it_is_recorded() {
    let world = World::start().await;
    let mut client = client(&world);
    let form = log_in(&mut client, "/sbj", "must", PASSWORD).await;
    let good = [("newpw1", OTHER_PASSWORD), ("newpw2", OTHER_PASSWORD)];
    let (page, ()) = tokio::join!(answer(&mut client, &form, "", &good), async {
        let intent = world.store.take().await.expect("the new password");
        change_account(&world.store, "must", |account| {
            account.state = AccountState::Suspended;
            account.credential.as_mut().expect("a credential").version += 1;
        })
        .await;
        world.store.settle(intent.id, Outcome::Done { version: 2 }).await.expect("it is settled");
    });
    assert_eq!(page.code(), "TG-2009", "{}", page.body);
    assert_eq!(session(&world, &client), None);
    until(async || world.audit().contains("TG-2009").then_some(())).await;
}

#[tokio::test]
async fn an_account_that_may_not_be_used_ends_the_login_with_the_reason() {
    let world = World::start().await;
    let mut client = client(&world);
    let page = log_in(&mut client, "/sbj", "gone", PASSWORD).await;
    assert_eq!((page.status, page.code()), (StatusCode::OK, "TG-2009"));
    assert!(!page.says("<form") && page.says("<error") && page.says("0898-0000 1200"), "{}", page.body);
    client.headers.push(("accept-language", "en".to_owned()));
    let page = log_in(&mut client, "/sbj", "gone", PASSWORD).await;
    assert!(page.says("Your account is suspended."), "{}", page.body);
}

#[tokio::test]
async fn clients_without_xml_send_forms() {
    let mut world = World::start().await;
    world.settle_intents();
    let mut client = plain_client(&world);
    let form = client.send(Method::GET, PORTAL, "/", &[], Bytes::new()).await;
    assert!(form.says("<select name=\"group_list\"") && form.says("type=\"auth-request\""), "{}", form.body);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let send = async |client: &mut Browser, body: &'static str| {
        client.send(Method::POST, PORTAL, "/", &headers, Bytes::from(body)).await
    };
    let page = send(&mut client, "group_list=sbj&username=must&password=Lantern-7-harbour").await;
    assert!(page.says("name=\"newpw1\""), "{}", page.body);
    // What such a client hands back is a cookie.
    assert!(client.cookie(PORTAL, "webvpncontext").is_some());
    let page = send(&mut client, "newpw1=Kelp.moss-42-Bridge&newpw2=Kelp.moss-42-Bridge").await;
    assert!(page.says("<auth id=\"success\">"), "{}", page.body);
    assert_eq!(client.cookie(PORTAL, "webvpncontext"), None);
    assert_eq!(session(&world, &client).expect("a session").ticket.account.to_string(), "sbj/must");
    // One that asks for another group does so with XML in the body of a GET.
    let init = "<config-auth type=\"init\"><group-select>ybj</group-select></config-auth>";
    let form = client.send(Method::GET, PORTAL, "/", &headers, Bytes::from(init)).await;
    assert!(form.says("<option value=\"ybj\" selected=\"true\">"), "{}", form.body);
}

#[tokio::test]
async fn the_newest_login_wins_among_tunnels_and_spares_the_portal() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    crate::login::wait(&mut browser, page).await;
    let (mut first, mut second) = (client(&world), client(&world));
    log_in(&mut first, "/sbj", "wangfang", PASSWORD).await;
    log_in(&mut second, "/sbj", "wangfang", PASSWORD).await;
    let ended = session(&world, &first).expect("a session").ticket.session;
    let live = session(&world, &second).expect("a session").ticket.session;
    let view = world.store.subscribe();
    until(async || view.borrow().ended.contains_key(&ended).then_some(())).await;
    assert!(!view.borrow().ended.contains_key(&live));
    assert_eq!(browser.get(PORTAL, "/").await.status, StatusCode::OK);
    // A logout ends the session everywhere, once.
    for _ in 0..2 {
        let page = second.send(Method::GET, PORTAL, "/+CSCOE+/logout.html", &[], Bytes::new()).await;
        assert_eq!(page.status, StatusCode::OK);
    }
    assert_eq!(second.cookie(PORTAL, cookie::WEBVPN), None);
    until(async || view.borrow().ended.contains_key(&live).then_some(())).await;
    assert_eq!(browser.get(PORTAL, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_logout_of_a_session_that_is_long_over_is_no_event() {
    let world = World::start().await;
    let (mut over, mut live) = (client(&world), client(&world));
    log_in(&mut over, "/sbj", "wangfang", PASSWORD).await;
    let ticket = session(&world, &over).expect("a session").ticket;
    world.clock.advance(ticket.absolute_end.since(world.clock.now()));
    log_in(&mut live, "/sbj", "liqiang", PASSWORD).await;
    for client in [&mut over, &mut live] {
        let page = client.send(Method::GET, PORTAL, "/+CSCOE+/logout", &[], Bytes::new()).await;
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(client.cookie(PORTAL, cookie::WEBVPN), None);
    }
    let logout = "\"event\":\"logout\"";
    let trail = until(async || Some(world.audit()).filter(|trail| trail.contains(logout))).await;
    assert_eq!(trail.matches(logout).count(), 1, "{trail}");
}

#[tokio::test]
async fn rubbish_is_refused_and_browsers_see_their_pages() {
    let world = World::start().await;
    let mut client = client(&world);
    for (body, status, code) in [
        ("x".repeat(1 << 20), StatusCode::PAYLOAD_TOO_LARGE, "TG-4005"),
        (
            "<!DOCTYPE x [<!ENTITY a \"b\">]><config-auth type=\"init\"/>".to_owned(),
            StatusCode::BAD_REQUEST,
            "TG-1009",
        ),
        ("<config-auth type=\"init\">".to_owned(), StatusCode::BAD_REQUEST, "TG-1009"),
    ] {
        let page = post(&mut client, "/", body).await;
        assert_eq!((page.status, page.code()), (status, code));
    }
    let bytes = Bytes::from_static(b"<config-auth type=\"init\">\xff\xfe</config-auth>");
    let page = client.send(Method::POST, PORTAL, "/", &[], bytes).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    let page = client.send(Method::PUT, PORTAL, "/", &[], Bytes::new()).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    let page = init(&mut client, "/sbj/activate", "").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    // Nothing of that is a browser's.
    let mut browser = world.browser();
    let page = browser.open(PORTAL, "/").await;
    assert!(page.says("<!doctype html") || page.says("<!DOCTYPE html"), "{}", page.body);
    browser.headers.push(("x-aggregate-auth", "1".to_owned()));
    let page = browser.open(PORTAL, "/sbj").await;
    assert!(!page.says("config-auth"), "a page that was made to look like a client is none");
}

/// The first line of the answer to a request for the tunnel with this ticket.
async fn connect(world: &World, ticket: &str) -> String {
    let (address, tls) = world.address();
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from(PORTAL).expect("a host name");
    let mut tls = TlsConnector::from(tls).connect(name, stream).await.expect("TLS");
    let request =
        format!("CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: {PORTAL}\r\nCookie: webvpn={ticket}\r\n\r\n");
    tls.write_all(request.as_bytes()).await.expect("it is sent");
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(tls.read_u8().await.expect("an answer"));
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

#[tokio::test]
async fn a_tunnel_is_refused_for_good_only_when_the_session_is_over() {
    let world = World::start().await;
    let mut client = client(&world);
    log_in(&mut client, "/sbj", "wangfang", PASSWORD).await;
    let ticket = client.cookie(PORTAL, cookie::WEBVPN).expect("a session").to_owned();
    assert_eq!(connect(&world, &ticket).await, "HTTP/1.1 200 CONNECTED");
    // What this gateway does not know yet it may know in a moment: the client comes again by itself.
    let mut ahead = session(&world, &client).expect("a session");
    ahead.ticket.epoch += 1;
    let ahead = ahead.seal(&world.ring, cookie::TUNNEL, world.clock.now()).expect("sealed");
    assert!(connect(&world, &ahead).await.starts_with("HTTP/1.1 503 "));
    for nobody in ["", "forged"] {
        assert!(connect(&world, nobody).await.starts_with("HTTP/1.1 401 "), "{nobody}");
    }
    // A browser's session is none of a client's.
    let mut browser = world.browser();
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    crate::login::wait(&mut browser, page).await;
    let portal = browser.cookie(PORTAL, cookie::SESSION).expect("a session").to_owned();
    assert!(connect(&world, &portal).await.starts_with("HTTP/1.1 401 "));
    client.send(Method::GET, PORTAL, "/+CSCOE+/logout", &[], Bytes::new()).await;
    let over = async || connect(&world, &ticket).await.starts_with("HTTP/1.1 401 ").then_some(());
    until(over).await;
}
