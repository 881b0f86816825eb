//! Logging in, the first password, another password: what a browser is told.

use http::StatusCode;
use tidegate_core::AccountState;

use crate::browser::{Browser, Page};
use crate::world::{CODE, OTHER_PASSWORD, PASSWORD, PORTAL, SOON, World, change_account, until, void_before};

/// Fills in the login form of `sbj`.
pub(crate) async fn login(browser: &mut Browser, user: &str, password: &str) -> Page {
    let form = browser.get(PORTAL, "/sbj").await;
    browser
        .post(
            PORTAL,
            "/sbj",
            &[("user", user), ("pass", password), ("token", &form.field("token")), ("next", "")],
        )
        .await
}

async fn activate(browser: &mut Browser, user: &str, code: &str, password: &str) -> Page {
    let form = browser.get(PORTAL, "/sbj/activate").await;
    let token = form.field("token");
    let fields = [
        ("user", user),
        ("code", code),
        ("new", password),
        ("again", password),
        ("token", &token),
        ("next", ""),
    ];
    browser.post(PORTAL, "/sbj/activate", &fields).await
}

async fn change(browser: &mut Browser, old: &str, new: &str) -> Page {
    let form = browser.get(PORTAL, "/password").await;
    // The first token of a page with a session is the logout form's.
    let token = form.body.rsplit("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let fields =
        [("old", old), ("new", new), ("again", new), ("token", token.unwrap_or_default()), ("next", "")];
    browser.post(PORTAL, "/password", &fields).await
}

/// Polls the waiting page until it leads somewhere else.
pub(crate) async fn wait(browser: &mut Browser, mut page: Page) -> Page {
    let deadline = tokio::time::Instant::now() + SOON;
    while page.says("url=/wait") {
        assert!(tokio::time::Instant::now() < deadline, "still waiting: {}", page.body);
        page = browser.get(PORTAL, "/wait").await;
    }
    page
}

#[tokio::test]
async fn the_right_password_opens_the_list() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    let page = wait(&mut browser, page).await;
    assert_eq!(
        (page.status, page.leads_to()),
        (StatusCode::SEE_OTHER, Some((PORTAL.to_owned(), "/".to_owned())))
    );
    let home = browser.get(PORTAL, "/").await;
    assert_eq!(home.status, StatusCode::OK);
    assert!(home.says("WANGFANG") && home.says("System payroll"), "{}", home.body);
    // The department is remembered, name@code works from another department's page, and case does not matter.
    assert_eq!(browser.cookie(PORTAL, "__Host-tidegate-department"), Some("sbj"));
    assert!(!home.says("Last sign-in on this computer"));
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    wait(&mut browser, page).await;
    assert!(browser.get(PORTAL, "/").await.says("Last sign-in on this computer: <time"));
    let mut other = world.browser();
    let form = other.get(PORTAL, "/ybj").await;
    let token = form.field("token");
    let fields = [("user", "WangFang@SBJ"), ("pass", PASSWORD), ("token", &token), ("next", "")];
    let page = other.post(PORTAL, "/ybj", &fields).await;
    assert_eq!(wait(&mut other, page).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_store_that_is_new_ends_what_began_before_it_also_in_the_same_second() {
    let world = World::start().await;
    let mut before = world.browser();
    let page = login(&mut before, "wangfang", PASSWORD).await;
    wait(&mut before, page).await;
    assert_eq!(before.get(PORTAL, "/").await.status, StatusCode::OK);
    // The clock stands still: the store turns out to be new in the second of the login.
    void_before(&world.store, world.clock.now().plus(1)).await;
    let page = until(async || {
        let page = before.get(PORTAL, "/").await;
        (page.status != StatusCode::OK).then_some(page)
    })
    .await;
    assert_eq!(page.code(), "TG-2019");
    // Whoever comes now, still in that second, knows of it.
    let mut after = world.browser();
    let page = login(&mut after, "wangfang", PASSWORD).await;
    wait(&mut after, page).await;
    assert_eq!(after.get(PORTAL, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn whether_an_account_exists_cannot_be_read_off() {
    let world = World::start().await;
    let mut pages = Vec::new();
    // Wrong password, unknown name, a name that cannot be, unknown department, not activated.
    for user in ["wangfang", "nobody", "王芳", "wangfang@nowhere", "new"] {
        let mut browser = world.browser();
        let page = login(&mut browser, user, "wrong-Password-1").await;
        let page = wait(&mut browser, page).await;
        assert_eq!((page.status, page.code()), (StatusCode::FORBIDDEN, "TG-1001"), "{user}");
        let token = page.field("token");
        let name = user.split('@').next().unwrap_or(user);
        pages.push(page.body.replace(&token, "").replace(&format!("value=\"{name}\""), ""));
    }
    assert!(pages.windows(2).all(|pair| pair[0] == pair[1]));
    // Only who knows the password learns that the account is suspended, and not while they have to wait.
    world.clock.advance(16 * 60);
    let mut browser = world.browser();
    let page = login(&mut browser, "gone", PASSWORD).await;
    assert_eq!(wait(&mut browser, page).await.code(), "TG-2009");
    let page = login(&mut browser, "gone", "wrong-Password-1").await;
    assert_eq!(wait(&mut browser, page).await.code(), "TG-1001");
}

#[tokio::test]
async fn guessers_wait_and_are_told_nothing_new() {
    let world = World::start().await;
    let mut browser = world.browser();
    for _ in 0..5 {
        let page = login(&mut browser, "wangfang", "wrong-Password-1").await;
        assert_eq!(wait(&mut browser, page).await.code(), "TG-1001");
    }
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    assert_eq!(page.code(), "TG-1001", "the right password is not even looked at");
    let page = login(&mut browser, "liqiang", PASSWORD).await;
    assert_eq!(page.code(), "TG-1001", "nor anybody else's from there");
    world.clock.advance(61);
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    assert_eq!(wait(&mut browser, page).await.status, StatusCode::SEE_OTHER);
    let home = browser.get(PORTAL, "/").await;
    assert!(home.says("<b class=\"num\">5</b> wrong passwords before this sign-in"), "{}", home.body);
    let page = login(&mut world.browser(), "liqiang", PASSWORD).await;
    assert_eq!(page.code(), "", "a login that succeeds frees its network");
}

#[tokio::test]
async fn forms_from_elsewhere_and_malformed_ones_change_nothing() {
    let world = World::start().await;
    let mut browser = world.browser();
    let token = browser.get(PORTAL, "/sbj").await.field("token");
    let fields = [("user", "wangfang"), ("pass", PASSWORD), ("token", token.as_str())];
    assert_eq!(browser.post_from("cross-site", PORTAL, "/sbj", &fields).await.code(), "TG-1010");
    assert_eq!(browser.post_from("same-site", PORTAL, "/sbj", &fields).await.code(), "TG-1010");
    let foreign = [("user", "wangfang"), ("pass", PASSWORD), ("token", "forged")];
    assert_eq!(browser.post(PORTAL, "/sbj", &foreign).await.code(), "TG-1010");
    let activation = browser.get(PORTAL, "/sbj/activate").await.field("token");
    let other_form = [("user", "wangfang"), ("pass", PASSWORD), ("token", activation.as_str())];
    assert_eq!(browser.post(PORTAL, "/sbj", &other_form).await.code(), "TG-1010", "another form's token");
    world.clock.advance(13 * 3_600);
    assert_eq!(browser.post(PORTAL, "/sbj", &fields).await.code(), "TG-1010", "too old");
    let long = "x".repeat(9_000);
    assert_eq!(browser.post(PORTAL, "/sbj", &[("user", long.as_str())]).await.code(), "TG-4005");
    let token = browser.get(PORTAL, "/sbj").await.field("token");
    for (user, pass) in [("", PASSWORD), ("wangfang", ""), (&long[..100], PASSWORD), ("a@b!", PASSWORD)] {
        let page =
            browser.post(PORTAL, "/sbj", &[("user", user), ("pass", pass), ("token", token.as_str())]).await;
        assert_eq!((page.status, page.code()), (StatusCode::BAD_REQUEST, "TG-1009"), "{user}");
    }
    assert_eq!(browser.cookie(PORTAL, "__Host-tidegate"), None);
}

#[tokio::test]
async fn a_code_sets_the_first_password_once() {
    let mut world = World::start().await;
    world.settle_intents();
    let mut browser = world.browser();
    let page = activate(&mut browser, "new", "AAAA-AAAA-AAAA-AAAA", OTHER_PASSWORD).await;
    assert_eq!(page.code(), "TG-1005");
    let page = activate(&mut browser, "wangfang", CODE, OTHER_PASSWORD).await;
    assert_eq!(page.code(), "TG-1005", "somebody else's code");
    for weak in ["Short-1", "Password1!", "all-lower-case", "New-sbj-Lantern-7"] {
        let page = activate(&mut browser, "new", CODE, weak).await;
        assert_eq!((page.status, page.code()), (StatusCode::BAD_REQUEST, "TG-1004"), "{weak}");
        assert!(!page.says(weak), "a password is never sent back");
    }
    let page = activate(&mut browser, "new", &CODE.to_lowercase().replace('-', " "), OTHER_PASSWORD).await;
    let page = wait(&mut browser, page).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
    assert!(browser.get(PORTAL, "/").await.says("System payroll"), "logged in without typing it again");
    let mut second = world.browser();
    let page = activate(&mut second, "new", CODE, OTHER_PASSWORD).await;
    assert_eq!(page.code(), "TG-1005", "a code works once");
    let page = login(&mut second, "new", OTHER_PASSWORD).await;
    assert_eq!(wait(&mut second, page).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn without_the_controller_a_password_is_pending_and_then_saved() {
    let mut world = World::start().await;
    let mut browser = world.browser();
    let page = activate(&mut browser, "new", CODE, OTHER_PASSWORD).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.says("Almost done") && page.says("url=/wait"), "{}", page.body);
    world.clock.advance(11);
    let page = browser.get(PORTAL, "/wait").await;
    assert!(page.says("The controller does not answer") && page.code() == "TG-1007", "{}", page.body);
    world.settle_intents();
    let page = wait(&mut browser, page).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
    // Whoever has no place in the room is sent back, not logged in.
    let mut stranger = world.browser();
    assert!(stranger.get(PORTAL, "/wait").await.body.contains("department"));
}

#[tokio::test]
async fn another_password_needs_the_present_one_and_none_of_the_latest() {
    let mut world = World::start().await;
    world.settle_intents();
    let mut browser = world.browser();
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    wait(&mut browser, page).await;
    let mut elsewhere = world.browser();
    let page = change(&mut browser, "wrong-Password-1", OTHER_PASSWORD).await;
    assert_eq!(wait(&mut browser, page).await.code(), "TG-1001");
    let page = change(&mut browser, PASSWORD, PASSWORD).await;
    assert_eq!(wait(&mut browser, page).await.code(), "TG-1004");
    let before = browser.cookie(PORTAL, "__Host-tidegate").map(str::to_owned);
    let page = change(&mut browser, PASSWORD, OTHER_PASSWORD).await;
    assert_eq!(wait(&mut browser, page).await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get(PORTAL, "/").await.status, StatusCode::OK);
    // Whoever still has the old session is out.
    elsewhere.set_cookie(PORTAL, "__Host-tidegate", before.as_deref());
    let page = elsewhere.get(PORTAL, "/").await;
    assert!(["TG-2002", "TG-2005"].contains(&page.code()), "{}", page.body);
    let page = change(&mut browser, OTHER_PASSWORD, PASSWORD).await;
    assert_eq!(wait(&mut browser, page).await.code(), "TG-1004", "one of the latest");
}

#[tokio::test]
async fn who_must_change_the_password_does_it_before_anything_else() {
    let mut world = World::start().await;
    world.settle_intents();
    let mut browser = world.browser();
    let page = login(&mut browser, "must", PASSWORD).await;
    let page = wait(&mut browser, page).await;
    assert!(page.says("Please set a new password first"), "{}", page.body);
    assert_eq!(browser.cookie(PORTAL, "__Host-tidegate"), None, "no session yet");
    let (token, proof) = (page.field("token"), page.field("proof"));
    let fields = |new: &'static str| {
        [("new", new), ("again", new), ("token", token.as_str()), ("proof", proof.as_str()), ("next", "")]
            .map(|(name, value)| (name, value.to_owned()))
    };
    let send = async |browser: &mut Browser, new: &'static str| {
        let fields = fields(new);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let page = browser.post(PORTAL, "/password", &fields).await;
        wait(browser, page).await
    };
    assert_eq!(send(&mut browser, PASSWORD).await.code(), "TG-1004");
    assert_eq!(send(&mut browser, OTHER_PASSWORD).await.status, StatusCode::SEE_OTHER);
    assert!(browser.get(PORTAL, "/").await.says("System payroll"));
    let mut other = world.browser();
    let page = send(&mut other, "Third.moss-42-Bridge").await;
    assert_ne!(page.status, StatusCode::SEE_OTHER, "the proof was for the password that is gone");
}

#[tokio::test]
async fn the_newest_login_wins_and_logging_out_ends_everywhere() {
    let world = World::start().await;
    let (mut first, mut second) = (world.browser(), world.browser());
    let page = login(&mut first, "wangfang", PASSWORD).await;
    wait(&mut first, page).await;
    assert_eq!(first.get(PORTAL, "/").await.status, StatusCode::OK);
    let page = login(&mut second, "wangfang", PASSWORD).await;
    wait(&mut second, page).await;
    let page = until(async || {
        let page = first.get(PORTAL, "/").await;
        (page.status != StatusCode::OK).then_some(page)
    })
    .await;
    assert_eq!((page.status, page.code()), (StatusCode::UNAUTHORIZED, "TG-2002"));
    let cookie = second.cookie(PORTAL, "__Host-tidegate").map(str::to_owned);
    let home = second.get(PORTAL, "/").await;
    let token = home.field("token");
    assert_eq!(second.post(PORTAL, "/logout", &[("token", "forged")]).await.code(), "TG-1010");
    let bye = second.post(PORTAL, "/logout", &[("token", &token)]).await;
    assert!(bye.says("You are signed out") && second.cookie(PORTAL, "__Host-tidegate").is_none());
    let mut thief = world.browser();
    thief.set_cookie(PORTAL, "__Host-tidegate", cookie.as_deref());
    let page = until(async || {
        let page = thief.get(PORTAL, "/").await;
        (page.status != StatusCode::OK).then_some(page)
    })
    .await;
    assert_eq!(page.code(), "TG-2001");
}

#[tokio::test]
async fn a_session_ends_with_its_reason() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = login(&mut browser, "wangfang", PASSWORD).await;
    wait(&mut browser, page).await;
    world.clock.advance(29 * 60);
    assert_eq!(browser.get(PORTAL, "/").await.status, StatusCode::OK, "working keeps it");
    world.clock.advance(29 * 60);
    assert_eq!(browser.get(PORTAL, "/").await.status, StatusCode::OK);
    let kept = browser.cookie(PORTAL, "__Host-tidegate").map(str::to_owned);
    world.clock.advance(31 * 60);
    assert_eq!(browser.get(PORTAL, "/").await.code(), "TG-2003");
    browser.set_cookie(PORTAL, "__Host-tidegate", kept.as_deref());
    world.clock.advance(8 * 3_600);
    assert_eq!(browser.get(PORTAL, "/").await.code(), "TG-2004");

    let page = login(&mut browser, "wangfang", PASSWORD).await;
    wait(&mut browser, page).await;
    change_account(&world.store, "wangfang", |account| account.state = AccountState::Suspended).await;
    let page = until(async || {
        let page = browser.get(PORTAL, "/").await;
        (page.status != StatusCode::OK).then_some(page)
    })
    .await;
    assert_eq!(page.code(), "TG-2009");
    assert!(page.says("0898-0000 1200") && page.says("City Social Insurance Centre"));
    // Coming back needs a new login: the controller raises the epoch before standing is given back.
    change_account(&world.store, "wangfang", |account| {
        account.state = AccountState::Active;
        account.credential.as_mut().expect("a credential").epoch += 1;
    })
    .await;
    assert_ne!(browser.get(PORTAL, "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_nonsense_cookie_is_a_login_page() {
    let world = World::start().await;
    for nonsense in ["", "x", "AAAA", &"A".repeat(4_000)] {
        let mut browser = world.browser();
        browser.set_cookie(PORTAL, "__Host-tidegate", Some(nonsense));
        browser.set_cookie(PORTAL, "__Host-tidegate-department", Some("sbj"));
        let page = browser.open(PORTAL, "/").await;
        assert!(page.says("id=\"pass\""), "{}", page.body);
    }
}

#[tokio::test]
async fn in_a_rush_everybody_gets_in_by_turns() {
    let world = World::start().await;
    let mut rush = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let mut browser = world.browser();
        rush.spawn(async move {
            let page = login(&mut browser, "wangfang", PASSWORD).await;
            let queued = page.says("Number <span class=\"num\">");
            assert_eq!(queued, page.says("url=/wait"), "whoever waits sees the place: {}", page.body);
            wait(&mut browser, page).await.status
        });
    }
    while let Some(status) = rush.join_next().await {
        assert_eq!(status.expect("a login"), StatusCode::SEE_OTHER);
    }
}

#[tokio::test]
async fn the_audit_trail_has_every_step() {
    let mut world = World::start().await;
    world.settle_intents();
    let mut browser = world.browser();
    let page = login(&mut browser, "wangfang", "wrong-Password-1").await;
    wait(&mut browser, page).await;
    let page = activate(&mut browser, "new", CODE, OTHER_PASSWORD).await;
    wait(&mut browser, page).await;
    let token = browser.get(PORTAL, "/").await.field("token");
    browser.post(PORTAL, "/logout", &[("token", &token)]).await;
    let said = ["TG-1001", "TG-2001", "wangfang", "uid-new", "127.0.0.1"];
    let trail = until(async || {
        let trail = world.audit();
        said.iter().all(|text| trail.contains(text)).then_some(trail)
    })
    .await;
    for secret in ["wrong-Password-1", OTHER_PASSWORD, CODE, "argon2id"] {
        assert!(!trail.contains(secret), "{secret} is in the trail");
    }
}

#[tokio::test]
async fn a_login_while_the_store_is_silent_is_recorded_as_such() {
    let world = World::start().await;
    let mut browser = world.browser();
    login(&mut browser, "wangfang", PASSWORD).await;
    let trail = until(async || world.audit().contains("\"login\"").then(|| world.audit())).await;
    assert!(!trail.contains("\"store\":\"away\""), "{trail}");
    world.clock.advance(60);
    let page = login(&mut world.browser(), "wangfang", PASSWORD).await;
    wait(&mut browser, page).await;
    until(async || world.audit().contains("\"store\":\"away\"").then_some(())).await;
}
