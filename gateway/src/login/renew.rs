//! The first password by activation code, and another password later.

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};
use http::StatusCode;
use tidegate_core::{Account, AccountId, Code, Credential, Department, Timestamp};
use tidegate_store::audit::{Actor, Event};
use tidegate_store::{Intent, IntentAction, IntentId};

use super::waiting::{Attempt, Hashed, Saving, Task, Waiting, go_on, latest};
use super::{Failures, PASSWORD_BYTES_MAX, Typed, choose, find, paused, refuse, standing_page};
use crate::cookie;
use crate::hash;
use crate::keys::Purpose;
use crate::login::form::Form;
use crate::login::guard::FormName;
use crate::pages::outcome::{About, status};
use crate::pages::{Activate, Frame, Nav, Password, Pick, Refusal, RuleState, RuleView};
use crate::password::{Rule, broken};
use crate::portal::{Answer, Visit, render, with_cookie};
use crate::session::Auth;
use crate::ticket::{Reader, Writer};

/// Longest activation code as typed, with hyphens and spaces.
const CODE_CHARS_MAX: usize = 40;

/// Seconds for which the right to set a new password lasts after the present one was proven.
const PROOF_S: i64 = 900;

/// Shows the activation form.
pub(crate) fn activate_page(visit: &Visit<'_>, code: &str) -> Answer {
    let Some(department) = visit.department(code) else { return choose(visit) };
    let form = ActivateForm { user: "", code: "", next: visit.query.get("next"), rules: None, refusal: None };
    with_cookie(form.answer(visit, &department), cookie::department(department.code.as_str()))
}

struct ActivateForm<'a> {
    user: &'a str,
    code: &'a str,
    next: &'a str,
    /// Rules the password breaks, once one was typed.
    rules: Option<Vec<Rule>>,
    refusal: Option<(&'a str, Code)>,
}

impl ActivateForm<'_> {
    fn answer(self, visit: &Visit<'_>, department: &Department) -> Answer {
        let f = visit.frame().of(department);
        let http_status = self.refusal.map_or(StatusCode::OK, |(_, code)| status(code));
        let page = Activate {
            department: Pick {
                code: department.code.to_string(),
                title: department.title.get(f.lang).to_owned(),
            },
            user: self.user.to_owned(),
            code: self.code.to_owned(),
            token: visit.token(FormName::Activate),
            next: self.next.to_owned(),
            rules: rule_views(
                &f,
                &[Rule::Length, Rule::Classes, Rule::Personal, Rule::Common],
                self.rules.as_deref(),
            ),
            refusal: self.refusal.map(|(key, code)| Refusal::new(f.lang, key, code)),
            f,
        };
        render(http_status, &page)
    }
}

fn rule_views(f: &Frame, shown: &[Rule], broken: Option<&[Rule]>) -> Vec<RuleView> {
    let state = |rule: Rule| match broken {
        Some(broken) if broken.contains(&rule) => RuleState::Broken,
        // History is asked only of a password that meets everything else.
        Some(broken) if rule == Rule::Recent && !broken.is_empty() => RuleState::Later,
        Some(_) => RuleState::Done,
        None if matches!(rule, Rule::Common | Rule::Recent) => RuleState::Later,
        None => RuleState::Todo,
    };
    shown
        .iter()
        .map(|rule| RuleView { name: rule.name(), text: f.t(rule.key()), state: state(*rule) })
        .collect()
}

/// Sets the first password.
pub(crate) async fn activate(visit: &Visit<'_>, code: &str, form: Form) -> Answer {
    let Some(page) = visit.department(code) else { return choose(visit) };
    let (user, typed_code, next) = (form.get("user"), form.get("code"), form.get("next"));
    let (new, again) = (form.get("new"), form.get("again"));
    let refused = |key: &'static str, code, rules: Option<Vec<Rule>>| {
        let form = ActivateForm { user, code: typed_code, next, rules, refusal: Some((key, code)) };
        form.answer(visit, &page)
    };
    if FormName::Activate.check(visit.ctx.ring(), None, form.get("token"), visit.now).is_err() {
        return refused("error-form-foreign", Code::FormForeign, None);
    }
    let whole =
        !typed_code.is_empty() && typed_code.chars().count() <= CODE_CHARS_MAX && fits(new) && fits(again);
    let (Some(typed), true) = (Typed::new(&page, user), whole) else {
        return refused("error-form-invalid", Code::FormInvalid, None);
    };
    if paused(visit) {
        return refused("error-logins-paused", Code::LoginsPaused, None);
    }
    let Ok(failures) = Failures::read(visit, &typed).await else {
        return refused("error-session-kept", Code::StoreFailed, None);
    };
    if failures.must_wait(visit.now) {
        record_activation(visit, &typed, Some(Code::LoginSlowedDown));
        return refused("error-activation-refused", Code::ActivationRefused, None);
    }
    let code = code_digest(typed_code);
    let found = find(visit, &typed).filter(|(_, account)| {
        account.credential.as_ref().is_some_and(|credential| opens(credential, &code, visit.now))
    });
    let Some((department, account)) = found else {
        Failures::count(visit, &typed).await;
        record_activation(visit, &typed, Some(Code::ActivationRefused));
        return refused("error-activation-refused", Code::ActivationRefused, None);
    };
    if let Some(reason) = account.standing(visit.now).denied {
        record_activation(visit, &typed, Some(reason.code()));
        return standing_page(visit, &department, reason.code());
    }
    let rules = broken(new, &personal(&department, &account));
    if !rules.is_empty() {
        return refused("error-password-too-weak", Code::PasswordTooWeak, Some(rules));
    }
    if new != again {
        return refused("error-password-differs", Code::FormInvalid, Some(rules));
    }
    let Some(credential) = &account.credential else {
        return refused("error-activation-refused", Code::ActivationRefused, None);
    };
    let task = Task::Activate { code, uid: account.source.uid.clone(), replaces: credential.version };
    let new = new.to_owned();
    let latest = latest(credential);
    let work = move || renewed(&new, &latest);
    let Ok(turn) = visit.ctx.hash_queue().submit(department.code.as_str(), work) else {
        return refused("error-login-busy", Code::LoginBusy, None);
    };
    let attempt =
        Attempt { page: page.code.clone(), typed, next: next.to_owned(), failures: failures.account, task };
    go_on(visit, Waiting::Hashing { attempt, turn, first_place: 0 }, None).await
}

/// Shows the form for another password.
pub(crate) async fn password_page(visit: &Visit<'_>) -> Answer {
    match visit.authenticate().await {
        Auth::Live(opened) => {
            let f = visit.own_frame(&opened, Nav::Account);
            let token =
                FormName::Password.token(visit.ctx.ring(), Some(opened.id()), visit.now).unwrap_or_default();
            let user = opened.account.name.as_str();
            visit.own_page(&opened, &form_page(f, user, token, None, "", None, None))
        }
        other => visit.turned_away(&other),
    }
}

/// Shows the form for another password to somebody who has just proven the present one.
pub(super) fn forced(visit: &Visit<'_>, department: &Department, account: &Account, next: &str) -> Answer {
    let id = AccountId { department: department.code.clone(), name: account.name.clone() };
    let version = account.credential.as_ref().map_or(0, |credential| credential.version);
    let Some(proof) = Proof { id, version, at: visit.now }.seal(visit) else {
        return visit.problem(Code::StoreFailed, About::default());
    };
    let f = visit.frame().of(department);
    let token = visit.token(FormName::Password);
    render(StatusCode::OK, &form_page(f, account.name.as_str(), token, Some(proof), next, None, None))
}

fn form_page(
    f: Frame,
    user: &str,
    token: String,
    proof: Option<String>,
    next: &str,
    rules: Option<Vec<Rule>>,
    refusal: Option<(&str, Code)>,
) -> Password {
    Password {
        user: user.to_owned(),
        token,
        proof,
        next: next.to_owned(),
        rules: rule_views(&f, &Rule::ALL, rules.as_deref()),
        refusal: refusal.map(|(key, code)| Refusal::new(f.lang, key, code)),
        f,
    }
}

/// Sets another password.
pub(crate) async fn change(visit: &Visit<'_>, form: Form) -> Answer {
    let sealed = form.get("proof");
    let (session, id, proven, frame) = if sealed.is_empty() {
        let opened = match visit.authenticate().await {
            Auth::Live(opened) => opened,
            other => return visit.turned_away(&other),
        };
        let frame = visit.own_frame(&opened, Nav::Account);
        (Some(opened.id()), opened.ticket().account.clone(), None, frame)
    } else {
        let Some(proof) = Proof::open(visit, sealed) else {
            return match visit.remembered() {
                Some(own) => refuse(visit, &own.code, "", "", "error-change-expired", Code::FormForeign),
                None => visit.problem(Code::FormForeign, About::default()),
            };
        };
        let frame = match visit.department(proof.id.department.as_str()) {
            Some(department) => visit.frame().of(&department),
            None => visit.frame(),
        };
        (None, proof.id, Some(proof.version), frame)
    };
    let (new, again, old, next) = (form.get("new"), form.get("again"), form.get("old"), form.get("next"));
    let proof = proven.map(|_| sealed.to_owned());
    let refused = |key: &str, code, rules: Option<Vec<Rule>>| {
        let token = FormName::Password.token(visit.ctx.ring(), session, visit.now).unwrap_or_default();
        let page =
            form_page(frame.clone(), id.name.as_str(), token, proof.clone(), next, rules, Some((key, code)));
        render(status(code), &page)
    };
    if FormName::Password.check(visit.ctx.ring(), session, form.get("token"), visit.now).is_err() {
        return refused("error-form-foreign", Code::FormForeign, None);
    }
    if !(fits(new) && fits(again) && (proven.is_some() || fits(old))) {
        return refused("error-form-invalid", Code::FormInvalid, None);
    }
    let typed = Typed { department: id.department.clone(), user: id.name.to_string() };
    let Some((department, account)) = find(visit, &typed) else {
        return visit.problem(Code::AccountUnknown, About::default());
    };
    if let Some(reason) = account.standing(visit.now).denied {
        return standing_page(visit, &department, reason.code());
    }
    let Some((credential, present)) =
        account.credential.as_ref().and_then(|credential| Some((credential, credential.password.clone()?)))
    else {
        return refused("error-credential-changed", Code::CredentialChanged, None);
    };
    if proven.is_some_and(|version| version != credential.version) {
        return refused("error-credential-changed", Code::CredentialChanged, None);
    }
    let Ok(failures) = Failures::read(visit, &typed).await else {
        return refused("error-session-kept", Code::StoreFailed, None);
    };
    if proven.is_none() && failures.must_wait(visit.now) {
        record_change(visit, &id, &account, Some(Code::LoginSlowedDown));
        return refused("error-old-wrong", Code::LoginFailed, None);
    }
    let rules = broken(new, &personal(&department, &account));
    if !rules.is_empty() {
        return refused("error-password-too-weak", Code::PasswordTooWeak, Some(rules));
    }
    if new != again {
        return refused("error-password-differs", Code::FormInvalid, Some(rules));
    }
    let task =
        Task::Change { uid: account.source.uid.clone(), replaces: credential.version, proof: proof.clone() };
    let latest = latest(credential);
    let (new, old, ask) = (new.to_owned(), old.to_owned(), proven.is_none());
    let work = move || match if ask { hash::verify(&old, &present) } else { Some(true) } {
        Some(true) => renewed(&new, &latest),
        Some(false) => Hashed::OldWrong,
        None => Hashed::Failed,
    };
    let Ok(turn) = visit.ctx.hash_queue().submit(department.code.as_str(), work) else {
        return refused("error-login-busy", Code::LoginBusy, None);
    };
    let attempt = Attempt { page: department.code.clone(), typed, next: next.to_owned(), failures: 0, task };
    go_on(visit, Waiting::Hashing { attempt, turn, first_place: 0 }, None).await
}

/// Hashes a new password unless it is one of the latest. Slow: for hashing threads.
fn renewed(new: &str, latest: &[Box<str>]) -> Hashed {
    for phc in latest {
        match hash::verify(new, phc) {
            Some(false) => {}
            Some(true) => return Hashed::Recent,
            None => return Hashed::Failed,
        }
    }
    hash::hash(new).map_or(Hashed::Failed, Hashed::New)
}

/// After hashing: the intent for the controller, or the form again.
pub(super) async fn after_hashing(
    visit: &Visit<'_>,
    attempt: Attempt,
    hashed: Hashed,
) -> Result<Saving, Box<Answer>> {
    let Attempt { page, typed, next, failures, task } = attempt;
    let Some((department, account)) = find(visit, &typed) else {
        return Err(Box::new(visit.problem(Code::AccountUnknown, About::default())));
    };
    let id = AccountId { department: department.code.clone(), name: account.name.clone() };
    let proof = match &task {
        Task::Change { proof, .. } => proof.clone(),
        Task::Login { .. } | Task::Activate { .. } => None,
    };
    let again = async |key: &'static str, code, rules: Option<Vec<Rule>>| {
        Box::new(match &task {
            Task::Change { .. } => {
                change_again(visit, &department, &account, proof.clone(), &next, rules, (key, code)).await
            }
            Task::Login { .. } | Task::Activate { .. } => {
                let form = ActivateForm {
                    user: &typed.user,
                    code: "",
                    next: &next,
                    rules,
                    refusal: Some((key, code)),
                };
                form.answer(visit, &department)
            }
        })
    };
    let password = match hashed {
        Hashed::New(password) => password,
        Hashed::OldWrong => {
            Failures::count(visit, &typed).await;
            record_change(visit, &id, &account, Some(Code::LoginFailed));
            return Err(again("error-old-wrong", Code::LoginFailed, None).await);
        }
        Hashed::Recent => {
            return Err(
                again("error-password-too-weak", Code::PasswordTooWeak, Some(vec![Rule::Recent])).await
            );
        }
        Hashed::Failed | Hashed::Verified(_) => {
            return Err(again("error-session-kept", Code::StoreFailed, None).await);
        }
    };
    let (uid, replaces, action) = match task {
        Task::Activate { code, uid, replaces } => {
            let key = format!("activation/{uid}/{}", hex(&code));
            let until =
                account.credential.as_ref().map_or(visit.now, |credential| credential.activation_until);
            // One winner, on whichever gateway: a copied slip cannot be used by two at once.
            match visit.ctx.claim_once(&key, until).await {
                Ok(true) => {}
                Ok(false) => {
                    record_activation(visit, &typed, Some(Code::ActivationRefused));
                    return Err(Box::new(activation_refused(visit, &department, &typed, &next)));
                }
                Err(error) => {
                    tracing::warn!(%error, "an activation code could not be claimed");
                    let form = ActivateForm {
                        user: &typed.user,
                        code: "",
                        next: &next,
                        rules: None,
                        refusal: Some(("error-session-kept", Code::StoreFailed)),
                    };
                    return Err(Box::new(form.answer(visit, &department)));
                }
            }
            (uid, replaces, IntentAction::Activate { code, password })
        }
        Task::Change { uid, replaces, .. } => (uid, replaces, IntentAction::ChangePassword { password }),
        Task::Login { .. } => return Err(Box::new(visit.problem(Code::FormInvalid, About::default()))),
    };
    let intent = Intent {
        id: IntentId(ulid::Ulid::generate().0),
        account: id.clone(),
        uid,
        replaces,
        action,
        at: visit.ctx.now(),
    };
    Ok(Saving { page, id, intent, offered: false, next, failures })
}

fn activation_refused(visit: &Visit<'_>, department: &Department, typed: &Typed, next: &str) -> Answer {
    let refusal = Some(("error-activation-refused", Code::ActivationRefused));
    ActivateForm { user: &typed.user, code: "", next, rules: None, refusal }.answer(visit, department)
}

/// The form for another password again, in the session if there still is one.
async fn change_again(
    visit: &Visit<'_>,
    department: &Department,
    account: &Account,
    proof: Option<String>,
    next: &str,
    rules: Option<Vec<Rule>>,
    refusal: (&'static str, Code),
) -> Answer {
    let (frame, session) = match (proof.is_none(), visit.authenticate().await) {
        (true, Auth::Live(opened)) => (visit.own_frame(&opened, Nav::Account), Some(opened.id())),
        (true, other) => return visit.turned_away(&other),
        (false, _) => (visit.frame().of(department), None),
    };
    let token = FormName::Password.token(visit.ctx.ring(), session, visit.now).unwrap_or_default();
    let page = form_page(frame, account.name.as_str(), token, proof, next, rules, Some(refusal));
    render(status(refusal.1), &page)
}

/// The controller refused: back to where one can try again.
pub(super) fn refused(visit: &Visit<'_>, saving: &Saving, code: Code) -> Answer {
    record(visit, saving, Some(code));
    let key = match (&saving.intent.action, code) {
        (IntentAction::Activate { .. }, Code::ActivationRefused) => "error-activation-refused",
        _ => "error-credential-changed",
    };
    let answer = match (&saving.intent.action, visit.department(saving.id.department.as_str())) {
        (IntentAction::Activate { .. }, Some(department)) => {
            let form = ActivateForm {
                user: saving.id.name.as_str(),
                code: "",
                next: &saving.next,
                rules: None,
                refusal: Some((key, code)),
            };
            form.answer(visit, &department)
        }
        _ => refuse(visit, &saving.page, saving.id.name.as_str(), &saving.next, key, code),
    };
    with_cookie(answer, cookie::clear(cookie::WAIT))
}

/// Puts the end of a change into the audit trail.
pub(super) fn record(visit: &Visit<'_>, saving: &Saving, refused: Option<Code>) {
    let actor =
        Actor { account: Some(saving.id.clone()), uid: Some(saving.intent.uid.clone()), ..visit.actor() };
    visit.record(match saving.intent.action {
        IntentAction::Activate { .. } => Event::Activation { actor, refused },
        IntentAction::ChangePassword { .. } => Event::PasswordChange { actor, refused },
    });
}

fn record_activation(visit: &Visit<'_>, typed: &Typed, refused: Option<Code>) {
    visit.record(Event::Activation { actor: Actor { account: typed.id(), ..visit.actor() }, refused });
}

fn record_change(visit: &Visit<'_>, id: &AccountId, account: &Account, refused: Option<Code>) {
    let actor = Actor { account: Some(id.clone()), uid: Some(account.source.uid.clone()), ..visit.actor() };
    visit.record(Event::PasswordChange { actor, refused });
}

/// What says who an account belongs to.
fn personal<'a>(department: &'a Department, account: &'a Account) -> Vec<&'a str> {
    let mut all = vec![
        account.name.as_str(),
        &*account.person.display_name,
        &*account.person.unit,
        department.code.as_str(),
    ];
    all.extend(department.title.zh_cn.as_deref());
    all.extend(department.title.en.as_deref());
    all
}

fn fits(password: &str) -> bool {
    !password.is_empty() && password.len() <= PASSWORD_BYTES_MAX
}

fn opens(credential: &Credential, code: &[u8; 32], now: Timestamp) -> bool {
    now < credential.activation_until
        && credential
            .activation
            .as_ref()
            .is_some_and(|wanted| constant_time::verify_slices_are_equal(wanted, code).is_ok())
}

/// The digest of a code as it was typed: case, hyphens and spaces do not matter, and what looks like a
/// letter is one.
fn code_digest(typed: &str) -> [u8; 32] {
    let normal: String = typed
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '‐' | '–' | '—' | '－'))
        .map(|c| match c.to_ascii_uppercase() {
            '0' => 'O',
            '1' => 'I',
            c => c,
        })
        .collect();
    let mut out = [0; 32];
    if let Some(bytes) = digest(&SHA256, normal.as_bytes()).as_ref().first_chunk::<32>() {
        out = *bytes;
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sealed right to set a new password without giving the present one again.
struct Proof {
    id: AccountId,
    version: u64,
    at: Timestamp,
}

impl Proof {
    fn seal(&self, visit: &Visit<'_>) -> Option<String> {
        let mut out = Writer(Vec::new());
        out.time(self.at);
        out.u64(self.version);
        out.text(self.id.department.as_str());
        out.text(self.id.name.as_str());
        visit.ctx.ring().seal_text(Purpose::Change, b"", &out.0, visit.now).ok()
    }

    fn open(visit: &Visit<'_>, text: &str) -> Option<Self> {
        let bytes = visit.ctx.ring().open_text(Purpose::Change, b"", text).ok()?;
        let mut reader = Reader(&bytes);
        let (at, version) = (reader.time()?, reader.u64()?);
        let id = AccountId { department: reader.text()?.parse().ok()?, name: reader.text()?.parse().ok()? };
        (reader.is_empty() && (0..=PROOF_S).contains(&visit.now.since(at))).then_some(Self {
            id,
            version,
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_may_be_typed_in_any_way() {
        let wanted = code_digest("K7QD-M2XA-5FTR-3WHB");
        assert_eq!(code_digest(" k7qd m2xa 5ftr 3whb "), wanted);
        assert_eq!(code_digest("k7qdm2xa5ftr3whb"), wanted);
        assert_ne!(code_digest("K7QD-M2XA-5FTR-3WHC"), wanted);
        assert_eq!(code_digest("0I1O"), code_digest("OIIO"));
        let expected = digest(&SHA256, b"K7QDM2XA5FTR3WHB");
        assert_eq!(wanted.as_slice(), expected.as_ref());
    }
}
