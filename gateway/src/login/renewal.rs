//! The first password by activation code, and another password later: what both faces do about them.
//!
//! ```text
//!  right to set one ([`super::right`]) --> submit: rules, hashing queue --> intent --> Saving: controller,
//!                                                                     own snapshot shows the new version
//! ```

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{Account, AccountId, Code, Credential, Department, Uid};
use tidegate_store::audit::{Actor, Event};
use tidegate_store::{Intent, IntentAction, IntentId, Outcome as Settled};

use super::steps::{Failures, Hashed, Refused, Typed, find, record_login};
use crate::hash::{self, Turn};
use crate::password::{Rule, broken};
use crate::portal::Visit;

/// The activation code is wrong, used or expired.
pub(crate) const ACTIVATION_REFUSED: Refused =
    Refused { key: "error-activation-refused", code: Code::ActivationRefused };
/// The present password is wrong.
pub(crate) const OLD_WRONG: Refused = Refused { key: "error-old-wrong", code: Code::LoginFailed };
/// Somebody else changed the password meanwhile.
pub(crate) const CHANGED: Refused =
    Refused { key: "error-credential-changed", code: Code::CredentialChanged };
/// etcd does not answer, so nobody can be asked to save it.
const NOT_HANDED_IN: Refused = Refused { key: "error-password-not-handed-in", code: Code::StoreFailed };
const TOO_WEAK: Refused = Refused { key: "error-password-too-weak", code: Code::PasswordTooWeak };
const DIFFERS: Refused = Refused { key: "error-password-differs", code: Code::FormInvalid };

/// Why a new password is not taken.
pub(crate) struct NotTaken {
    pub(crate) refused: Refused,
    /// The rules it breaks, if it was looked at.
    pub(crate) rules: Option<Vec<Rule>>,
}

impl From<Refused> for NotTaken {
    fn from(refused: Refused) -> Self {
        Self { refused, rules: None }
    }
}

/// How long until a change that could not be handed over is handed over again, and its end asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a new password is set for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// It is the first one; this is the digest of the code.
    Activation([u8; 32]),
    /// It replaces one.
    Change,
}

/// A new password under way.
pub(crate) struct Renewal {
    pub(crate) occasion: Occasion,
    uid: Uid,
    replaces: u64,
}

/// Puts the hashing of a new password into the queue. `old` is the present password where it must be proven.
pub(crate) fn submit(
    visit: &Visit<'_>,
    (department, account): (&Department, &Account),
    occasion: Occasion,
    (new, again): (&str, &str),
    old: Option<&str>,
) -> Result<(Renewal, Turn<Hashed>), NotTaken> {
    if visit.ctx.is_alone() {
        return Err(NOT_HANDED_IN.into());
    }
    let gone = if occasion == Occasion::Change { CHANGED } else { ACTIVATION_REFUSED };
    let credential = account.credential.as_ref().ok_or(gone)?;
    let rules = broken(new, &personal(department, account));
    if !rules.is_empty() {
        return Err(NotTaken { refused: TOO_WEAK, rules: Some(rules) });
    }
    if new != again {
        return Err(NotTaken { refused: DIFFERS, rules: Some(rules) });
    }
    let old = match old {
        Some(old) => Some((old.to_owned(), credential.password.clone().ok_or(gone)?)),
        None => None,
    };
    let new = new.to_owned();
    let latest = latest(credential);
    let work = move || match old.map_or(Some(true), |(old, present)| hash::verify(&old, &present)) {
        Some(true) => renewed(&new, &latest),
        Some(false) => Hashed::OldWrong,
        None => Hashed::Failed,
    };
    let queue = department.code.as_str();
    let turn = visit.ctx.hash_queue().submit(queue, work).map_err(|_| Refused::BUSY)?;
    let renewal = Renewal { occasion, uid: account.source.uid.clone(), replaces: credential.version };
    Ok((renewal, turn))
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

/// The hashes a new password must not fit: the present one first.
fn latest(credential: &Credential) -> Vec<Box<str>> {
    let mut all: Vec<Box<str>> = credential.password.iter().cloned().collect();
    all.extend(credential.history.iter().cloned());
    all.truncate(Credential::HISTORY_MAX);
    all
}

/// After hashing: what the controller is asked for.
pub(crate) async fn intent(
    visit: &Visit<'_>,
    (department, account): (&Department, &Account),
    renewal: Renewal,
    hashed: Hashed,
) -> Result<Intent, NotTaken> {
    let id = AccountId { department: department.code.clone(), name: account.name.clone() };
    let password = match hashed {
        Hashed::New(password) => password,
        Hashed::OldWrong => {
            Failures::count(visit, &Typed::from(&id)).await;
            record_change(visit, &id, account, Some(Code::LoginFailed));
            return Err(OLD_WRONG.into());
        }
        Hashed::Recent => {
            return Err(NotTaken { refused: TOO_WEAK, rules: Some(vec![Rule::Recent]) });
        }
        Hashed::Failed | Hashed::Verified(_) => return Err(Refused::KEPT.into()),
    };
    let Renewal { occasion, uid, replaces } = renewal;
    let action = match occasion {
        Occasion::Activation(code) => {
            let until =
                account.credential.as_ref().map_or(visit.now, |credential| credential.activation_until);
            // One winner, on whichever gateway: a copied slip cannot be used by two at once.
            match visit.ctx.claim_once(&format!("activation/{uid}/{}", hex(&code)), until).await {
                Ok(true) => {}
                Ok(false) => {
                    record_activation(visit, Some(id), Some(Code::ActivationRefused));
                    return Err(ACTIVATION_REFUSED.into());
                }
                Err(error) => {
                    tracing::warn!(%error, "an activation code could not be claimed");
                    return Err(Refused::KEPT.into());
                }
            }
            IntentAction::Activate { code, password }
        }
        Occasion::Change => IntentAction::ChangePassword { password },
    };
    let number = IntentId(ulid::Ulid::generate().0);
    Ok(Intent { id: number, account: id, uid, replaces, action, at: visit.ctx.now() })
}

/// A password on its way to the truth.
pub(crate) struct Saving {
    pub(crate) intent: Intent,
    /// Whether the store has it.
    offered: bool,
}

/// What became of a password on its way.
pub(crate) enum Progress {
    /// The snapshot of this gateway has it.
    Saved,
    /// It was refused.
    Refused(Code),
    /// Not yet.
    Waiting,
}

impl Saving {
    /// A change that nobody has been told of yet.
    pub(crate) fn new(intent: Intent) -> Self {
        Self { intent, offered: false }
    }

    /// Hands it over, again where that did not work, and waits until it is saved or refused, at most for
    /// `patience`.
    pub(crate) async fn advance(&mut self, visit: &Visit<'_>, patience: Duration) -> Progress {
        let deadline = tokio::time::Instant::now() + patience;
        let mut views = visit.ctx.views();
        loop {
            if !self.offered {
                match visit.ctx.offer(self.intent.clone()).await {
                    Ok(()) => self.offered = true,
                    Err(error) => {
                        tracing::warn!(%error, "a password change could not be handed over yet");
                        // A code has been claimed by now, and would be refused when it is typed again.
                        if matches!(self.intent.action, IntentAction::ChangePassword { .. }) {
                            return Progress::Refused(NOT_HANDED_IN.code);
                        }
                    }
                }
            }
            // Marked as seen before it is looked at, so that no view is missed in between.
            let snapshot = views.borrow_and_update().snapshot.clone();
            let account = snapshot.as_ref().and_then(|snapshot| snapshot.account(&self.intent.account));
            let version = account.and_then(|account| {
                (account.source.uid == self.intent.uid).then_some(account.credential.as_ref()?.version)
            });
            match self.judge(visit, version).await {
                Progress::Waiting => {}
                settled => return settled,
            }
            // What is refused changes no view.
            let next = deadline.min(tokio::time::Instant::now() + AGAIN);
            match tokio::time::timeout_at(next, views.changed()).await {
                Ok(Ok(())) => {}
                Err(_) if next < deadline => {}
                Ok(Err(_)) | Err(_) => return Progress::Waiting,
            }
        }
    }

    async fn judge(&self, visit: &Visit<'_>, version: Option<u64>) -> Progress {
        let newer = version.is_some_and(|version| version > self.intent.replaces);
        match visit.ctx.outcome(self.intent.id).await {
            // A newer version alone may be somebody else's change; the outcome says whose it is.
            Ok(Some(Settled::Done { .. })) if newer => Progress::Saved,
            Ok(Some(Settled::Refused(code))) => Progress::Refused(code),
            _ => Progress::Waiting,
        }
    }

    /// Records that it is in force here. Its owner, who goes on without typing it again, and why they may not.
    pub(crate) fn saved(&self, visit: &Visit<'_>) -> Option<(Arc<Department>, Arc<Account>, Option<Code>)> {
        self.record(visit, None);
        let id = &self.intent.account;
        let (department, account) = find(visit, &Typed::from(id))?;
        let denied = account.standing(visit.ctx.now()).denied.map(|reason| reason.code());
        if denied.is_some() {
            record_login(visit, Some(id.clone()), Some(&self.intent.uid), denied);
        }
        Some((department, account, denied))
    }

    /// Whether it is handed over: sooner or later it is in force, or is refused.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.offered
    }

    /// What somebody is told whose change the controller refused with `code`.
    pub(crate) fn refusal(&self, code: Code) -> Refused {
        match (&self.intent.action, code) {
            (IntentAction::Activate { .. }, Code::ActivationRefused) => ACTIVATION_REFUSED,
            (_, code) if code == NOT_HANDED_IN.code => NOT_HANDED_IN,
            _ => Refused { code, ..CHANGED },
        }
    }

    /// Puts its end into the audit trail.
    pub(crate) fn record(&self, visit: &Visit<'_>, refused: Option<Code>) {
        let actor = Actor {
            account: Some(self.intent.account.clone()),
            uid: Some(self.intent.uid.clone()),
            ..visit.actor()
        };
        visit.record(match self.intent.action {
            IntentAction::Activate { .. } => Event::Activation { actor, refused },
            IntentAction::ChangePassword { .. } => Event::PasswordChange { actor, refused },
        });
    }
}

/// Puts the end of an activation into the audit trail.
pub(crate) fn record_activation(visit: &Visit<'_>, account: Option<AccountId>, refused: Option<Code>) {
    visit.record(Event::Activation { actor: Actor { account, ..visit.actor() }, refused });
}

/// Puts the end of a change into the audit trail.
pub(crate) fn record_change(visit: &Visit<'_>, id: &AccountId, account: &Account, refused: Option<Code>) {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
