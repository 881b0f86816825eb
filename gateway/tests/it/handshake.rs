//! From the list to a system and back: cookies of their own for every host, without a store.

use http::{Method, StatusCode};

use crate::browser::Browser;
use crate::login::login;
use crate::world::{FUND, PASSWORD, PAYROLL, PORTAL, World, until};

async fn logged_in(world: &World) -> Browser {
    let mut browser = world.browser();
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
    browser
}

#[tokio::test]
async fn a_tile_opens_its_system() {
    let world = World::start().await;
    let mut browser = logged_in(&world).await;
    let page = browser.open(PAYROLL, "/start?year=2026").await;
    assert_eq!(
        (page.status, page.host.as_str(), page.path.as_str()),
        (StatusCode::OK, PAYROLL, "/start?year=2026")
    );
    assert!(page.says("upstream GET /start?year=2026"), "{}", page.body);
    assert!(!page.says("__Host-tidegate"), "the system never sees our cookies: {}", page.body);
    assert!(browser.cookie(PAYROLL, "__Host-tidegate").is_some());
    assert_ne!(browser.cookie(PAYROLL, "__Host-tidegate"), browser.cookie(PORTAL, "__Host-tidegate"));
    assert_eq!(browser.fetch(PAYROLL, "/api").await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_login_one_comes_to_the_system_through_it() {
    let world = World::start().await;
    let mut browser = world.browser();
    browser.set_cookie(PORTAL, "__Host-tidegate-department", Some("sbj"));
    let form = browser.open(PAYROLL, "/start").await;
    assert!(form.host == PORTAL && form.says("After signing in, System payroll opens"), "{}", form.body);
    let (token, next) = (form.field("token"), form.field("next"));
    let fields = [("user", "wangfang"), ("pass", PASSWORD), ("token", &*token), ("next", &*next)];
    let page = browser.post(PORTAL, "/sbj", &fields).await;
    assert_eq!(page.status, StatusCode::OK, "a form is not redirected to another host");
    let page = browser.follow(page).await;
    assert_eq!((page.status, page.host.as_str(), page.path.as_str()), (StatusCode::OK, PAYROLL, "/start"));
}

#[tokio::test]
async fn a_script_is_told_and_not_sent_around() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = browser.fetch(PAYROLL, "/api").await;
    assert_eq!((page.status, page.code()), (StatusCode::UNAUTHORIZED, "TG-2021"));
    assert_eq!(page.headers["content-type"], "application/json");
    let page = browser.send(Method::POST, PAYROLL, "/api", &[("sec-fetch-mode", "cors")], "a=b".into()).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_grant_is_worth_nothing_elsewhere() {
    let world = World::start().await;
    let mut browser = logged_in(&world).await;
    let (_, go) = browser.get(PAYROLL, "/start").await.leads_to().expect("to the portal");
    let (_, enter) = browser.get(PORTAL, &go).await.leads_to().expect("back to the system");
    // Another browser, another host, another half minute.
    let mut thief = world.browser();
    assert_eq!(thief.get(PAYROLL, &enter).await.code(), "TG-2020");
    assert_eq!(browser.get(FUND, &enter).await.code(), "TG-2020");
    world.clock.advance(31);
    assert_eq!(browser.get(PAYROLL, &enter).await.code(), "TG-2020");
    assert_eq!(browser.get(PORTAL, "/go?t=nonsense").await.code(), "TG-2020");
    assert_eq!(browser.get(PORTAL, "/go?t=https://evil.example/").await.code(), "TG-2020");
    // A portal's cookie is none of a system's, nor one system's another's.
    let portal = browser.cookie(PORTAL, "__Host-tidegate").map(str::to_owned);
    thief.set_cookie(PAYROLL, "__Host-tidegate", portal.as_deref());
    assert_eq!(thief.fetch(PAYROLL, "/api").await.code(), "TG-2016");
}

#[tokio::test]
async fn a_refused_system_says_why_and_whom_to_call() {
    let world = World::start().await;
    let mut browser = logged_in(&world).await;
    let page = browser.open(FUND, "/start").await;
    assert_eq!((page.status, page.code()), (StatusCode::FORBIDDEN, "TG-3001"));
    for said in ["Not opened", "System fund is not open to you", "IT section", "0898-0000 1310", "Request"] {
        assert!(page.says(said), "{said}: {}", page.body);
    }
    assert!(!page.says("upstream"), "nothing was forwarded");
    let page = browser.fetch(FUND, "/start").await;
    assert_eq!((page.status, page.code()), (StatusCode::FORBIDDEN, "TG-3001"));
    assert_eq!(page.headers["content-type"], "application/json");
}

#[tokio::test]
async fn working_in_a_system_keeps_the_session_and_the_portal_is_asked_now_and_then() {
    let world = World::start().await;
    let mut browser = logged_in(&world).await;
    browser.open(PAYROLL, "/start").await;
    let first = browser.cookie(PAYROLL, "__Host-tidegate").map(str::to_owned);
    // Scripts work on for longer than the idle limit, never sent around.
    for _ in 0..4 {
        world.clock.advance(10 * 60);
        assert_eq!(browser.fetch(PAYROLL, "/api").await.status, StatusCode::OK);
    }
    assert_ne!(
        browser.cookie(PAYROLL, "__Host-tidegate").map(str::to_owned),
        first,
        "sealed anew while used"
    );
    // The next navigation goes by the portal, whose own cookie alone would be idle by now.
    let page = browser.get(PAYROLL, "/start").await;
    assert_eq!(page.leads_to().expect("a redirect").0, PORTAL);
    let page = browser.follow(page).await;
    assert_eq!((page.status, page.host.as_str()), (StatusCode::OK, PAYROLL));
    assert_eq!(browser.get(PORTAL, "/").await.status, StatusCode::OK, "and the portal is awake again");
}

#[tokio::test]
async fn logging_out_ends_the_systems_too() {
    let world = World::start().await;
    let mut browser = logged_in(&world).await;
    browser.open(PAYROLL, "/start").await;
    let token = browser.get(PORTAL, "/").await.field("token");
    browser.post(PORTAL, "/logout", &[("token", &token)]).await;
    let page = until(async || {
        let page = browser.fetch(PAYROLL, "/api").await;
        (page.status != StatusCode::OK).then_some(page)
    })
    .await;
    assert_eq!(page.code(), "TG-2001");
    let page = browser.open(PAYROLL, "/start").await;
    assert!(page.host == PORTAL && page.says("id=\"pass\""), "{}", page.body);
}
