//! The pages of the portal: what is on them, and what protects them.

use http::{Method, StatusCode};

use crate::login::login;
use crate::world::{PASSWORD, PORTAL, World};

#[tokio::test]
async fn the_list_has_what_is_open_and_what_waits() {
    let world = World::start().await;
    let mut browser = world.browser();
    login(&mut browser, "wangfang", PASSWORD).await;
    let home = browser.get(PORTAL, "/").await;
    assert!(home.says("System payroll") && home.says("https://payroll-sbj.localhost:"), "{}", home.body);
    assert!(!home.says("System fund"), "what is for others is not shown");
    assert!(home.says("System night") && home.says("data-tone=\"wait\""), "what waits says so");
    assert!(!home.says("https://night-sbj"), "and has no link");
    assert!(home.says("approvals are not enforced"));
    assert!(browser.get(PORTAL, "/?q=PAY").await.says("System payroll"));
    assert!(!browser.get(PORTAL, "/?q=PAY").await.says("System night"));
    assert!(browser.get(PORTAL, "/?q=zzz").await.says("No system has that name"));
    let mut zhao = world.browser();
    let form = zhao.get(PORTAL, "/ybj").await;
    let token = form.field("token");
    zhao.post(PORTAL, "/ybj", &[("user", "zhao"), ("pass", PASSWORD), ("token", &token)]).await;
    assert!(zhao.get(PORTAL, "/").await.says("No system is open to you yet"));
}

#[tokio::test]
async fn every_page_is_protected_and_in_the_readers_language() {
    let world = World::start().await;
    let mut browser = world.browser();
    for path in [
        "/",
        "/departments",
        "/departments?q=med",
        "/sbj",
        "/sbj/activate",
        "/help",
        "/status",
        "/nowhere",
        "/%2e%2e",
    ] {
        let page = browser.get(PORTAL, path).await;
        for header in ["content-security-policy", "x-content-type-options", "referrer-policy"] {
            assert!(page.headers.contains_key(header), "{path}: {header}");
        }
        let policy = page.headers["content-security-policy"].to_str().expect("text");
        for rule in
            ["default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert_eq!(page.headers["cache-control"], "no-store", "{path}");
        assert!(page.says("lang=\"en\""), "{path}");
    }
    let page = browser.get(PORTAL, "/sbj?lang=zh-CN").await;
    assert_eq!(page.leads_to(), Some((PORTAL.to_owned(), "/sbj".to_owned())));
    let page = browser.get(PORTAL, "/sbj").await;
    assert!(page.says("lang=\"zh-CN\"") && page.says("第一段</p>") && page.says("第二段"), "{}", page.body);
    browser.get(PORTAL, "/sbj?text=large").await;
    assert!(browser.get(PORTAL, "/sbj").await.says("data-text=\"large\""));
    assert!(browser.get(PORTAL, "/departments?q=医疗").await.status.is_success());
}

#[tokio::test]
async fn departments_are_found_and_unknown_ones_are_not() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.get(PORTAL, "/").await;
    assert!(page.says("City Social Insurance Centre") && page.says("City Medical Insurance Bureau"));
    let page = browser.get(PORTAL, "/departments?q=medical").await;
    assert!(!page.says("City Social Insurance Centre") && page.says("href=\"/ybj\""));
    assert!(browser.get(PORTAL, "/departments?q=zzz").await.says("No such department"));
    assert_eq!(browser.get(PORTAL, "/abc").await.code(), "TG-4016");
    browser.get(PORTAL, "/ybj").await;
    let page = browser.open(PORTAL, "/").await;
    assert_eq!(page.path, "/ybj", "chosen once");
    assert!(browser.get(PORTAL, "/departments").await.says("Last used"));
}

#[tokio::test]
async fn only_post_changes_anything() {
    let world = World::start().await;
    let mut browser = world.browser();
    for path in ["/logout", "/alive"] {
        let page = browser.get(PORTAL, path).await;
        assert_eq!((page.status, page.code()), (StatusCode::METHOD_NOT_ALLOWED, "TG-4017"), "{path}");
    }
    for path in ["/", "/help", "/status", "/go", "/wait", "/departments"] {
        assert_eq!(browser.post(PORTAL, path, &[]).await.code(), "TG-4017", "{path}");
    }
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS] {
        let page = browser.send(method, PORTAL, "/sbj", &[], bytes::Bytes::new()).await;
        assert_eq!(page.code(), "TG-4017");
    }
    let page = browser.send(Method::HEAD, PORTAL, "/sbj", &[], bytes::Bytes::new()).await;
    assert_eq!((page.status, page.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn assets_are_cached_by_content() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.get(PORTAL, "/sbj").await;
    let (_, rest) = page.body.split_once("rel=\"stylesheet\" href=\"").expect("a stylesheet");
    let path = rest.split('"').next().expect("its path").to_owned();
    let css = browser.get(PORTAL, &path).await;
    assert_eq!(css.headers["content-type"], "text/css; charset=utf-8");
    assert_eq!(css.headers["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(browser.get(PORTAL, "/.tidegate/0000000000000000/style.css").await.code(), "TG-4016");
    assert_eq!(browser.get(PORTAL, "/favicon.ico").await.status, StatusCode::OK);
    assert!(browser.get(PORTAL, "/robots.txt").await.says("Disallow: /"));
}

#[tokio::test]
async fn a_sign_of_life_keeps_the_session_only_when_somebody_works() {
    let world = World::start().await;
    let mut browser = world.browser();
    assert_eq!(browser.post(PORTAL, "/alive", &[("active", "1")]).await.status, StatusCode::UNAUTHORIZED);
    login(&mut browser, "wangfang", PASSWORD).await;
    world.clock.advance(20 * 60);
    let page = browser.post(PORTAL, "/alive", &[("active", "0")]).await;
    assert!(page.says("\"idle\":600,"), "{}", page.body);
    let page = browser.post(PORTAL, "/alive", &[("active", "1")]).await;
    assert!(page.says("\"idle\":1800,"), "{}", page.body);
    world.clock.advance(20 * 60);
    let page = browser.post(PORTAL, "/alive", &[("active", "0")]).await;
    assert!(page.says("\"idle\":600,"), "{}", page.body);
    world.clock.advance(11 * 60);
    let page = browser.post(PORTAL, "/alive", &[("active", "1")]).await;
    assert_eq!((page.status, page.code()), (StatusCode::UNAUTHORIZED, "TG-2003"));
}

#[tokio::test]
async fn a_gateway_without_news_says_so_and_lets_nobody_in() {
    let world = World::with_staleness_limits().await;
    let mut browser = world.browser();
    login(&mut browser, "wangfang", PASSWORD).await;
    assert!(browser.get(PORTAL, "/status").await.says("Up to date"));
    // The store's own clock stands still beside this one.
    world.clock.advance(16 * 60);
    let home = browser.get(PORTAL, "/").await;
    assert!(home.says("Changes of permission cannot take effect"), "{}", home.body);
    let mut late = world.browser();
    let page = login(&mut late, "liqiang", PASSWORD).await;
    assert_eq!((page.status, page.code()), (StatusCode::SERVICE_UNAVAILABLE, "TG-1008"));
    assert!(late.get(PORTAL, "/status").await.says("New sign-ins are paused"));
}
