//! The program `tidegate-gateway`, as processes, on a real etcd.

mod parts;

use std::sync::Arc;

use http::StatusCode;
use rustix::process::Signal;
use tidegate_core::AccountName;
use tidegate_store::{Change, IntentAction, Outcome, Store as _, StoreError};

use crate::browser::Browser;
use crate::client;
use crate::login::{login, wait};
use crate::world::{CODE, OTHER_PASSWORD, PASSWORD, PORTAL, SOON, publication, until};
use parts::{Folder, Member};

/// Logs Wang Fang in.
async fn log_in(browser: &mut Browser) {
    let page = login(browser, "wangfang", PASSWORD).await;
    let page = wait(browser, page).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
}

async fn sees_home(browser: &mut Browser) -> bool {
    let page = browser.get(PORTAL, "/").await;
    page.status == StatusCode::OK && page.says("WANGFANG")
}

#[test]
fn what_cannot_be_used_is_refused_in_words() {
    let folder = Folder::new(&["http://127.0.0.1:1"]);
    let (status, said) = folder.check();
    assert!(status == Some(0) && said.contains("well"), "{said}");
    let refused = |code: &str| {
        let (status, said) = folder.check();
        assert!(status == Some(1) && said.contains(code), "{code}: {said}");
    };
    std::fs::write(folder.path("tls.key"), "nothing").expect("written");
    refused("TG-6032");
    std::fs::write(folder.path("keys/1"), "short").expect("written");
    refused("TG-6031");
    std::fs::write(folder.path("gateway.json"), "{\"pools\": 1}").expect("written");
    refused("TG-6030");
    std::fs::remove_file(folder.path("gateway.json")).expect("removed");
    refused("TG-6030");
}

#[tokio::test]
async fn a_gateway_without_etcd_lives_and_says_what_is_missing() {
    let folder = Folder::new(&["http://127.0.0.1:1"]);
    let gateway = folder.start("one").await;
    let why = "no configuration yet: TG-6016: ";
    until(async || gateway.probe("/readyz").await.contains(why).then_some(())).await;
    assert!(gateway.probe("/healthz").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(gateway.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn gateways_of_a_pool_are_one() {
    let Some(mut etcd) = Member::start_or_skip() else { return };
    let folder = Folder::new(&[&etcd.url()]);
    let controller = folder.controller().await;
    controller
        .publish(publication(parts::now(), "127.20.0.1:9".parse().expect("an address")))
        .await
        .expect("it is published");
    let (one, two) = (folder.start("one").await, folder.start("two").await);
    for gateway in [&one, &two] {
        until(async || gateway.probe("/readyz").await.starts_with("HTTP/1.1 200 ").then_some(())).await;
    }

    // A cookie of one is good at the other, and the newest login wins on both.
    let mut browser = folder.browser(one.address);
    log_in(&mut browser).await;
    assert!(sees_home(&mut browser).await);
    let mut elsewhere = browser.at(two.address);
    assert!(sees_home(&mut elsewhere).await);
    let mut newest = folder.browser(two.address);
    log_in(&mut newest).await;
    until(async || (!sees_home(&mut browser).await).then_some(())).await;

    // The ring follows its folder, and the session with it.
    std::fs::write(folder.path("keys/current"), "1").expect("written");
    std::fs::write(folder.path("keys/2"), [2; 32]).expect("written");
    for gateway in [&one, &two] {
        let mut browser = newest.at(gateway.address);
        until(async || {
            browser.get(PORTAL, "/.well-known/jwks.json").await.says("\"kid\":\"2\"").then_some(())
        })
        .await;
        assert!(sees_home(&mut browser).await);
    }

    // One ends in order and takes its word back; the other goes on.
    assert_eq!(one.end(Signal::TERM).await, Some(0));
    let known = async || {
        let reports = controller.reports().await.expect("an answer");
        reports.into_iter().map(|report| report.ack.gateway.0).collect::<Vec<_>>()
    };
    until(async || (known().await == ["two"]).then_some(())).await;
    assert!(sees_home(&mut newest).await);

    // Without etcd sessions go on and people log in; a gateway that starts then has yesterday's word only.
    etcd.kill();
    let mut late = folder.browser(two.address);
    log_in(&mut late).await;
    assert!(sees_home(&mut late).await);
    assert!(two.probe("/readyz").await.starts_with("HTTP/1.1 200 "));
    let three = folder.start("two").await;
    let why = "no proof of freshness since the start";
    until(async || three.probe("/readyz").await.contains(why).then_some(())).await;
    let mut browser = late.at(three.address);
    assert!(sees_home(&mut browser).await, "it could serve, if anybody were sent to it");

    // What happened meanwhile is told when etcd is back.
    etcd.start();
    until(async || three.probe("/readyz").await.starts_with("HTTP/1.1 200 ").then_some(())).await;
    until(async || sees_home(&mut late).await.then_some(())).await;
    assert_eq!(two.end(Signal::KILL).await, None);
    assert!(sees_home(&mut late.at(three.address)).await);
    controller.close().await;
}

#[tokio::test]
async fn who_logs_out_of_a_full_etcd_is_out() {
    let Some(mut etcd) = Member::start_or_skip() else { return };
    let folder = Folder::new(&[&etcd.url()]);
    let controller = folder.controller().await;
    let upstream = "127.20.0.1:9".parse().expect("an address");
    controller.publish(publication(parts::now(), upstream)).await.expect("it is published");
    let gateway = folder.start("one").await;
    until(async || gateway.probe("/readyz").await.starts_with("HTTP/1.1 200 ").then_some(())).await;
    let mut browser = folder.browser(gateway.address);
    log_in(&mut browser).await;

    etcd.kill();
    etcd.start_full();
    // It answers, so nobody takes it to be away; only that it stores nothing more.
    let full = async || controller.claim_once("x", parts::now().plus(60)).await;
    until(async || matches!(full().await, Err(StoreError::Medium(_))).then_some(())).await;
    let fresh = "tidegate_staleness_seconds ";
    until(async || {
        let metrics = gateway.probe("/metrics").await;
        let stale = metrics.lines().find_map(|line| line.strip_prefix(fresh)?.parse::<u32>().ok());
        stale.is_some_and(|stale| stale < 3).then_some(())
    })
    .await;
    let page = browser.get(PORTAL, "/").await;
    assert!(page.says("WANGFANG"), "sessions go on");
    let mut copied = browser.at(gateway.address);
    browser.post(PORTAL, "/logout", &[("token", &page.field("token"))]).await;
    assert!(!sees_home(&mut copied).await, "a copy of the cookie is worth nothing");
    controller.close().await;
}

#[tokio::test]
async fn a_claimed_code_is_not_lost_while_its_password_cannot_be_handed_over() {
    let Some(etcd) = Member::start_or_skip() else { return };
    let folder = Folder::new(&[&etcd.url()]);
    let controller = folder.controller().await;
    let upstream = "127.20.0.1:9".parse().expect("an address");
    controller.publish(publication(parts::now(), upstream)).await.expect("it is published");
    let gateway = folder.start("one").await;
    until(async || gateway.probe("/readyz").await.starts_with("HTTP/1.1 200 ").then_some(())).await;
    let mut client = client::speaking_xml(folder.browser(gateway.address));
    let form = client::log_in(&mut client, "/sbj", "new", CODE).await;

    // As many changes wait as may: there is no room for one more until some are settled.
    let intents = "/tidegate/v1/pools/main/live/intents/";
    etcd.fill(intents, 10_000);
    let good = [("newpw1", OTHER_PASSWORD), ("newpw2", OTHER_PASSWORD)];
    let (done, ()) = tokio::join!(client::answer(&mut client, &form, "", &good), async {
        until(async || gateway.said().contains("could not be handed over yet").then_some(())).await;
        etcd.clear(intents);
        let intent = tokio::time::timeout(SOON, controller.take()).await.expect("it is handed over");
        let intent = intent.expect("the new password");
        let IntentAction::Activate { password, .. } = intent.action else { panic!("another change") };
        let mut changed = publication(parts::now(), upstream);
        for change in &mut changed.departments {
            let Change::Put(department) = change else { continue };
            let name = "new".parse::<AccountName>().expect("a name");
            let Some(account) = Arc::make_mut(department).accounts.get_mut(&name) else { continue };
            let credential = Arc::make_mut(account).credential.as_mut().expect("a credential");
            credential.password = Some(password.clone());
            credential.version += 1;
        }
        controller.publish(changed).await.expect("it is published");
        controller.settle(intent.id, Outcome::Done { version: 2 }).await.expect("it is settled");
    });
    assert!(done.says("type=\"complete\""), "{}", done.body);
    controller.close().await;
}
