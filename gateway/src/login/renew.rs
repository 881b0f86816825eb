//! The pages for the first password by activation code, and for another password later.

use http::StatusCode;
use tidegate_core::{Account, Code, Department};

use super::renewal::{
    ACTIVATION_REFUSED, CHANGED, NotTaken, OLD_WRONG, Occasion, Saving, intent, record_activation,
    record_change, submit,
};
use super::right::{EXPIRED, Proof, code_digest, could_be_code, opened_by};
use super::steps::{Failures, Hashed, Refused, Typed, find, fits, paused};
use super::waiting::{Attempt, Pending, Task, Waiting, go_on};
use super::{choose, refuse, standing_page};
use crate::cookie;
use crate::login::form::Form;
use crate::login::guard::FormName;
use crate::pages::outcome::{About, status};
use crate::pages::{Activate, Frame, Nav, Password, Pick, Refusal, RuleState, RuleView};
use crate::password::Rule;
use crate::portal::{Answer, Visit, render, with_cookie};
use crate::session::Auth;

/// The form came from another site, or was open for too long.
pub(super) const FOREIGN: Refused = Refused { key: "error-form-foreign", code: Code::FormForeign };

/// What proofs are sealed for: a field of the form for another password.
const PROOF: &[u8] = b"";

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
    refusal: Option<Refused>,
}

impl ActivateForm<'_> {
    fn answer(self, visit: &Visit<'_>, department: &Department) -> Answer {
        let f = visit.frame().of(department);
        let http_status = self.refusal.map_or(StatusCode::OK, |refused| status(refused.code));
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
            refusal: self.refusal.map(|refused| Refusal::new(f.lang, refused)),
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
    let refused = |not: NotTaken| {
        let NotTaken { refused, rules } = not;
        let form = ActivateForm { user, code: typed_code, next, rules, refusal: Some(refused) };
        form.answer(visit, &page)
    };
    if FormName::Activate.check(visit.ctx.ring(), None, form.get("token"), visit.now).is_err() {
        return refused(FOREIGN.into());
    }
    let whole = could_be_code(typed_code) && fits(new) && fits(again);
    let (Some(typed), true) = (Typed::new(Some(&page.code), user), whole) else {
        return refused(Refused::FORM.into());
    };
    if paused(visit) {
        return refused(Refused::PAUSED.into());
    }
    let Ok(failures) = Failures::read(visit, &typed).await else { return refused(Refused::KEPT.into()) };
    if failures.must_wait(visit.now) {
        record_activation(visit, typed.id(), Some(Code::LoginSlowedDown));
        return refused(ACTIVATION_REFUSED.into());
    }
    let code = code_digest(typed_code);
    let Some((department, account)) = opened_by(visit, &typed, &code) else {
        Failures::count(visit, &typed).await;
        record_activation(visit, typed.id(), Some(Code::ActivationRefused));
        return refused(ACTIVATION_REFUSED.into());
    };
    if let Some(reason) = account.standing(visit.now).denied {
        record_activation(visit, typed.id(), Some(reason.code()));
        return standing_page(visit, &department, reason.code());
    }
    let occasion = Occasion::Activation(code);
    let (renewal, turn) = match submit(visit, (&department, &account), occasion, (new, again), None) {
        Ok(submitted) => submitted,
        Err(not) => return refused(not),
    };
    let attempt = Attempt {
        page: page.code.clone(),
        typed,
        next: next.to_owned(),
        failures: failures.account,
        task: Task::Renew { renewal, proof: None },
    };
    go_on(visit, Waiting::Hashing { attempt: Box::new(attempt), turn, first_place: 0 }, None).await
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
    let Some(proof) = Proof::of(department, account, Occasion::Change, visit.now).seal(visit, PROOF) else {
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
    refusal: Option<Refused>,
) -> Password {
    Password {
        user: user.to_owned(),
        token,
        proof,
        next: next.to_owned(),
        rules: rule_views(&f, &Rule::ALL, rules.as_deref()),
        refusal: refusal.map(|refused| Refusal::new(f.lang, refused)),
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
        let Some(proof) = Proof::open(visit, PROOF, sealed) else {
            return match visit.remembered() {
                Some(own) => refuse(visit, &own.code, "", "", EXPIRED),
                None => visit.problem(Code::FormForeign, About::default()),
            };
        };
        let frame = match visit.department(proof.id.department.as_str()) {
            Some(department) => visit.frame().of(&department),
            None => visit.frame(),
        };
        (None, proof.id.clone(), Some(proof), frame)
    };
    let (new, again, old, next) = (form.get("new"), form.get("again"), form.get("old"), form.get("next"));
    let proof = proven.as_ref().map(|_| sealed.to_owned());
    let refused = |not: NotTaken| {
        let NotTaken { refused, rules } = not;
        let token = FormName::Password.token(visit.ctx.ring(), session, visit.now).unwrap_or_default();
        let user = id.name.as_str();
        let page = form_page(frame.clone(), user, token, proof.clone(), next, rules, Some(refused));
        render(status(refused.code), &page)
    };
    if FormName::Password.check(visit.ctx.ring(), session, form.get("token"), visit.now).is_err() {
        return refused(FOREIGN.into());
    }
    if !(fits(new) && fits(again) && (proven.is_some() || fits(old))) {
        return refused(Refused::FORM.into());
    }
    let typed = Typed::from(&id);
    let Some((department, account)) = find(visit, &typed) else {
        return visit.problem(Code::AccountUnknown, About::default());
    };
    if let Some(reason) = account.standing(visit.now).denied {
        return standing_page(visit, &department, reason.code());
    }
    if account.credential.as_ref().is_none_or(|credential| credential.password.is_none()) {
        return refused(CHANGED.into());
    }
    if let Some(Err(gone)) = proven.as_ref().map(|proof| proof.account(visit)) {
        return refused(gone.into());
    }
    let Ok(failures) = Failures::read(visit, &typed).await else { return refused(Refused::KEPT.into()) };
    if proven.is_none() && failures.must_wait(visit.now) {
        record_change(visit, &id, &account, Some(Code::LoginSlowedDown));
        return refused(OLD_WRONG.into());
    }
    let old = proven.is_none().then_some(old);
    let (renewal, turn) = match submit(visit, (&department, &account), Occasion::Change, (new, again), old) {
        Ok(submitted) => submitted,
        Err(not) => return refused(not),
    };
    let task = Task::Renew { renewal, proof };
    let attempt = Attempt { page: department.code.clone(), typed, next: next.to_owned(), failures: 0, task };
    go_on(visit, Waiting::Hashing { attempt: Box::new(attempt), turn, first_place: 0 }, None).await
}

/// After hashing: what the controller is asked for, or the form again.
pub(super) async fn after_hashing(
    visit: &Visit<'_>,
    attempt: Attempt,
    hashed: Hashed,
) -> Result<Pending, Box<Answer>> {
    let Attempt { page, typed, next, failures, task } = attempt;
    let Task::Renew { renewal, proof } = task else {
        return Err(Box::new(visit.problem(Code::FormInvalid, About::default())));
    };
    let Some((department, account)) = find(visit, &typed) else {
        return Err(Box::new(visit.problem(Code::AccountUnknown, About::default())));
    };
    let change = renewal.occasion == Occasion::Change;
    match intent(visit, (&department, &account), renewal, hashed).await {
        Ok(intent) => Ok(Pending { page, saving: Saving::new(intent), next, failures }),
        Err(not) if change => {
            Err(Box::new(change_again(visit, &department, &account, proof, &next, not).await))
        }
        Err(NotTaken { refused, rules }) => {
            let form =
                ActivateForm { user: &typed.user, code: "", next: &next, rules, refusal: Some(refused) };
            Err(Box::new(form.answer(visit, &department)))
        }
    }
}

/// The form for another password again, in the session if there still is one.
async fn change_again(
    visit: &Visit<'_>,
    department: &Department,
    account: &Account,
    proof: Option<String>,
    next: &str,
    NotTaken { refused, rules }: NotTaken,
) -> Answer {
    let (frame, session) = match (proof.is_none(), visit.authenticate().await) {
        (true, Auth::Live(opened)) => (visit.own_frame(&opened, Nav::Account), Some(opened.id())),
        (true, other) => return visit.turned_away(&other),
        (false, _) => (visit.frame().of(department), None),
    };
    let token = FormName::Password.token(visit.ctx.ring(), session, visit.now).unwrap_or_default();
    let page = form_page(frame, account.name.as_str(), token, proof, next, rules, Some(refused));
    render(status(refused.code), &page)
}

/// The controller refused: back to where one can try again.
pub(super) fn refused(visit: &Visit<'_>, pending: &Pending, code: Code) -> Answer {
    let saving = &pending.saving;
    saving.record(visit, Some(code));
    let (id, refused) = (&saving.intent.account, saving.refusal(code));
    let activation = matches!(saving.intent.action, tidegate_store::IntentAction::Activate { .. });
    let answer = match visit.department(id.department.as_str()).filter(|_| activation) {
        Some(department) => {
            let form = ActivateForm {
                user: id.name.as_str(),
                code: "",
                next: &pending.next,
                rules: None,
                refusal: Some(refused),
            };
            form.answer(visit, &department)
        }
        None => refuse(visit, &pending.page, id.name.as_str(), &pending.next, refused),
    };
    with_cookie(answer, cookie::clear(cookie::WAIT))
}
