//! Accounts: who applies, who approves, who confirms, and what nobody may do alone.

use serde_json::{Value, json};

use crate::case::Then::{NoRight, Refused, Stored, Unchanged};
use crate::case::Write::{Apply, Create, Delete, DeleteAll, Generate, Patch, Replace, Status};
use crate::case::{Case, Then, Who, Write, metadata, spec, with};

const REQUESTER: Who = Who { name: "chen.xia", groups: &["sbj-requesters"] };
const APPROVER: Who = Who { name: "li.qiang", groups: &["sbj-approvers"] };
/// Holds both roles, and tries to be two persons.
const BOTH: Who = Who { name: "wu.jun", groups: &["sbj-requesters", "sbj-approvers", "sbj-reviewers"] };
const REVIEWER: Who = Who { name: "zhou.min", groups: &["sbj-reviewers"] };
const CHIEF: Who = Who { name: "sun.li", groups: &["sbj-department-admins"] };
const AUDITOR: Who = Who { name: "auditor", groups: &["auditors"] };
const NEIGHBOUR: Who = Who { name: "ding.hui", groups: &["rsj-approvers"] };
const RESTORER: Who = Who { name: "backup", groups: &["restorers"] };
const ROOT: Who = Who { name: "root", groups: &["system:masters"] };
/// A program in the department's namespace that somebody made an approver.
const ROBOT: Who = Who { name: "system:serviceaccount:dept-sbj:robot", groups: &["sbj-approvers"] };
const CONTROLLER: Who =
    Who { name: "system:serviceaccount:tidegate-system:tidegate-controller", groups: &[] };
/// The controller after somebody gave it every right there is.
const CONTROLLER_AS_ROOT: Who = Who { name: CONTROLLER.name, groups: &["system:masters"] };

/// What a unit asks for.
fn asked(by: &str) -> Value {
    json!({"request": {"person": "王芳", "unit": "参保登记科", "groups": ["sbj/clerks"]}, "requestedBy": by})
}

fn applied() -> Value {
    asked(REQUESTER.name)
}

fn approval(by: &str) -> Value {
    json!({"approval": {"by": by, "reference": "2026-017"}})
}

fn approved() -> Value {
    with(applied(), &approval(APPROVER.name))
}

fn review(by: &str) -> Value {
    json!({"review": {"by": by, "until": "2027-06-30T16:00:00Z"}})
}

/// The request with another content.
fn another() -> Value {
    json!({"request": {"groups": ["sbj/finance"]}})
}

/// A specification in which a field is there and null, which is not the same as absent on its way to the schema.
fn with_null(mut spec: Value, field: &str) -> Value {
    spec[field] = Value::Null;
    spec
}

fn on(user: &str) -> Value {
    with(applied(), &json!({"request": {"kubernetesUser": user}}))
}

/// A row about a new account.
fn new(what: &'static str, who: Who, write: Write, then: Then) -> Case {
    Case { what, kind: "VpnUser", name: row(what), before: None, who, write, then }
}

/// A row about an account that is there.
fn old(what: &'static str, before: Value, who: Who, write: Write, then: Then) -> Case {
    Case { what, kind: "VpnUser", name: row(what), before: Some(before), who, write, then }
}

/// A name made from a row's words.
fn row(what: &str) -> String {
    let words: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    words.to_lowercase().chars().take(60).collect::<String>().trim_matches('-').to_owned()
}

/// Who applies.
pub(crate) fn applications() -> Vec<Case> {
    let other = || asked("he.lin");
    let portal = || asked("portal:sbj/wangfang");
    vec![
        new("a requester applies", REQUESTER, Create(applied()), Stored),
        new("a requester applies by apply", REQUESTER, Apply("unit", applied()), Stored),
        new("a requester applies in another name", REQUESTER, Create(other()), Refused("TG-6024")),
        new(
            "a requester applies in another name by apply",
            REQUESTER,
            Apply("unit", other()),
            Refused("TG-6024"),
        ),
        new("a requester has the name made up", REQUESTER, Generate(applied()), Stored),
        new("a requester has another's name made up", REQUESTER, Generate(other()), Refused("TG-6024")),
        new("a requester pretends to be the portal", REQUESTER, Create(portal()), Refused("TG-6024")),
        new("a department admin pretends to be the portal", CHIEF, Create(portal()), Refused("TG-6024")),
        new("the controller passes on an application", CONTROLLER, Create(portal()), Stored),
        new("the controller applies in a name of ours", CONTROLLER, Create(applied()), Refused("TG-6024")),
        new("an approver has no right to apply", APPROVER, Create(asked(APPROVER.name)), NoRight),
        new("an auditor has no right to apply", AUDITOR, Create(asked(AUDITOR.name)), NoRight),
        new("a neighbour has no right to apply", NEIGHBOUR, Create(asked(NEIGHBOUR.name)), NoRight),
        old(
            "who applied never changes",
            applied(),
            REQUESTER,
            spec(json!({"requestedBy": "he.lin"})),
            Refused("TG-6017"),
        ),
        old("who applied is not replaced", applied(), REQUESTER, Replace(other()), Refused("TG-6017")),
        new("a backup brings back an application", RESTORER, Create(other()), Stored),
        new("a backup brings back one of the portal", RESTORER, Create(portal()), Stored),
        new("the administrator applies for others", ROOT, Create(other()), Stored),
    ]
}

/// Who approves.
pub(crate) fn approvals() -> Vec<Case> {
    let yes = |who: Who| approval(who.name);
    let fragment = |who: Who| Apply("tidegate-approve", yes(who));
    vec![
        new("an application brings its approval", REQUESTER, Create(approved()), Refused("TG-6023")),
        new("an application brings it by apply", REQUESTER, Apply("unit", approved()), Refused("TG-6023")),
        new(
            "somebody with both roles brings it",
            BOTH,
            Create(with(asked(BOTH.name), &yes(APPROVER))),
            Refused("TG-6023"),
        ),
        new("an application without a name brings it", REQUESTER, Generate(approved()), Refused("TG-6023")),
        new("a backup brings back an approval", RESTORER, Create(approved()), Stored),
        new("a backup by apply brings it back", RESTORER, Apply("backup", approved()), Stored),
        new(
            "a backup brings an own approval",
            RESTORER,
            Create(with(applied(), &yes(REQUESTER))),
            Refused("TG-6007"),
        ),
        old("a backup approves what is there", applied(), RESTORER, spec(yes(RESTORER)), Refused("TG-6023")),
        old("an approver approves", applied(), APPROVER, spec(yes(APPROVER)), Stored),
        old("an approver approves by apply", applied(), APPROVER, fragment(APPROVER), Stored),
        old("a program approves in its own name", applied(), ROBOT, spec(yes(ROBOT)), Stored),
        old("a program approves in a person's", applied(), ROBOT, spec(yes(APPROVER)), Refused("TG-6024")),
        old(
            "a program approves what it applied for",
            asked(ROBOT.name),
            ROBOT,
            spec(yes(ROBOT)),
            Refused("TG-6007"),
        ),
        old("a department admin approves", applied(), CHIEF, spec(yes(CHIEF)), Stored),
        old("the administrator approves", applied(), ROOT, spec(yes(ROOT)), Stored),
        old("the administrator forges an approver", applied(), ROOT, spec(yes(APPROVER)), Refused("TG-6024")),
        old("a requester approves", applied(), REQUESTER, spec(yes(REQUESTER)), Refused("TG-6007")),
        old("a requester forges an approver", applied(), REQUESTER, spec(yes(APPROVER)), Refused("TG-6023")),
        old("a requester smuggles it by apply", applied(), REQUESTER, fragment(APPROVER), Refused("TG-6023")),
        old("an approver forges another", applied(), APPROVER, spec(yes(CHIEF)), Refused("TG-6024")),
        old("an approver forges another by apply", applied(), APPROVER, fragment(CHIEF), Refused("TG-6024")),
        old("both approve the own application", asked(BOTH.name), BOTH, spec(yes(BOTH)), Refused("TG-6007")),
        old("both hide behind another name", asked(BOTH.name), BOTH, spec(yes(CHIEF)), Refused("TG-6024")),
        old(
            "an approver approves the own account",
            on(APPROVER.name),
            APPROVER,
            spec(yes(APPROVER)),
            Refused("TG-6007"),
        ),
        Case {
            name: APPROVER.name.to_owned(),
            ..old(
                "an account named like its approver",
                applied(),
                APPROVER,
                spec(yes(APPROVER)),
                Refused("TG-6007"),
            )
        },
        old("a reviewer approves", applied(), REVIEWER, spec(yes(REVIEWER)), Refused("TG-6023")),
        old("an auditor has no right to approve", applied(), AUDITOR, spec(yes(AUDITOR)), NoRight),
        old("an approver of the next department", applied(), NEIGHBOUR, fragment(NEIGHBOUR), NoRight),
        old("the controller approves", applied(), CONTROLLER, spec(yes(CONTROLLER)), Refused("TG-6023")),
        old(
            "the controller forges an approver",
            applied(),
            CONTROLLER,
            fragment(APPROVER),
            Refused("TG-6023"),
        ),
        old(
            "the controller with every right approves",
            applied(),
            CONTROLLER_AS_ROOT,
            spec(yes(CONTROLLER)),
            Refused("TG-6023"),
        ),
        old(
            "the controller approves through the status",
            applied(),
            CONTROLLER,
            Status(json!({"spec": yes(CONTROLLER), "status": {"observedGeneration": 1}})),
            Unchanged,
        ),
        old(
            "an approver writes the status",
            applied(),
            APPROVER,
            Status(json!({"spec": yes(APPROVER)})),
            NoRight,
        ),
    ]
}

/// What an approval survives.
pub(crate) fn edits() -> Vec<Case> {
    let renewed = |by: Who| json!({"approval": {"by": by.name, "reference": "2026-018"}});
    vec![
        old("a requester edits after approval", approved(), REQUESTER, spec(another()), Refused("TG-6025")),
        old("an approver edits after approval", approved(), APPROVER, spec(another()), Refused("TG-6025")),
        old(
            "a requester edits after approval by apply",
            approved(),
            REQUESTER,
            Apply("unit", with(applied(), &another())),
            Refused("TG-6025"),
        ),
        old(
            "an approver edits and approves at once",
            approved(),
            APPROVER,
            spec(with(another(), &renewed(APPROVER))),
            Refused("TG-6025"),
        ),
        old(
            "an approver approves what is edited at once",
            applied(),
            APPROVER,
            spec(with(another(), &approval(APPROVER.name))),
            Refused("TG-6025"),
        ),
        old(
            "an attribute is added after approval",
            approved(),
            REQUESTER,
            spec(json!({"request": {"attributes": {"duty": "analysis"}}})),
            Refused("TG-6025"),
        ),
        old(
            "an edit that drops the approval",
            approved(),
            REQUESTER,
            spec(json!({"request": {"groups": ["sbj/finance"]}, "approval": null})),
            Stored,
        ),
        old(
            "an edit with an approval of nothing",
            approved(),
            REQUESTER,
            Replace(with_null(with(applied(), &another()), "approval")),
            Stored,
        ),
        old("an edit before approval", applied(), REQUESTER, spec(another()), Stored),
        // Whoever may say yes would otherwise write the question as well, and be both persons in two steps.
        old("an approver edits before approval", applied(), APPROVER, spec(another()), Refused("TG-6007")),
        old(
            "an approver edits and drops the approval",
            approved(),
            APPROVER,
            spec(json!({"request": {"groups": ["sbj/finance"]}, "approval": null})),
            Refused("TG-6007"),
        ),
        old(
            "an approver edits by apply",
            applied(),
            APPROVER,
            Apply("unit", with(applied(), &another())),
            Refused("TG-6007"),
        ),
        old(
            "an approver disowns the own account",
            on(APPROVER.name),
            APPROVER,
            spec(json!({"request": {"kubernetesUser": null}})),
            Refused("TG-6007"),
        ),
        old(
            "a department admin edits before approval",
            applied(),
            CHIEF,
            spec(another()),
            Refused("TG-6007"),
        ),
        old("both edit the own application", asked(BOTH.name), BOTH, spec(another()), Stored),
        old("the administrator edits before approval", applied(), ROOT, spec(another()), Stored),
        old(
            "a requester withdraws the approval",
            approved(),
            REQUESTER,
            spec(json!({"approval": null})),
            Stored,
        ),
        old(
            "a requester alters an approval",
            approved(),
            REQUESTER,
            spec(renewed(APPROVER)),
            Refused("TG-6023"),
        ),
        old("an approver renews the own approval", approved(), APPROVER, spec(renewed(APPROVER)), Stored),
        old("an approver takes over an approval", approved(), CHIEF, spec(renewed(CHIEF)), Stored),
        old(
            "an approver alters the approval of another",
            approved(),
            CHIEF,
            spec(renewed(APPROVER)),
            Refused("TG-6024"),
        ),
        old(
            "a requester ends all sessions",
            approved(),
            REQUESTER,
            spec(json!({"sessionGeneration": 1})),
            Stored,
        ),
        old(
            "the controller sets a finalizer",
            approved(),
            CONTROLLER,
            Patch(json!({"metadata": {"finalizers": ["tidegate.dev/in-force"]}})),
            Stored,
        ),
        old("the controller edits the request", approved(), CONTROLLER, spec(another()), Refused("TG-6025")),
        old(
            "a requester labels what is approved",
            approved(),
            REQUESTER,
            metadata(json!({"labels": {"floor": "3"}})),
            Stored,
        ),
        old("a requester deletes", approved(), REQUESTER, Delete, NoRight),
        old("an approver deletes", approved(), APPROVER, Delete, NoRight),
        new("an approver deletes all at once", APPROVER, DeleteAll, NoRight),
        new("a department admin deletes all at once", CHIEF, DeleteAll, NoRight),
    ]
}

/// Who asks for another activation code.
pub(crate) fn activations() -> Vec<Case> {
    let code = |number: &str| metadata(json!({"annotations": {"tidegate.dev/reissue-activation": number}}));
    vec![
        old("an approver asks for a code", approved(), APPROVER, code("1"), Stored),
        old("a department admin asks for a code", approved(), CHIEF, code("1"), Stored),
        old("a requester asks for a code", approved(), REQUESTER, code("1"), Refused("TG-6023")),
        old("a reviewer asks for a code", approved(), REVIEWER, code("1"), Refused("TG-6023")),
        old("a requester says nothing as a code", approved(), REQUESTER, code(""), Refused("TG-6023")),
        old("the controller asks for a code", approved(), CONTROLLER, code("1"), Refused("TG-6023")),
        old(
            "the controller with every right asks",
            approved(),
            CONTROLLER_AS_ROOT,
            code("1"),
            Refused("TG-6023"),
        ),
    ]
}

/// Who stops an account, and who lets it come back.
pub(crate) fn states() -> Vec<Case> {
    let state = |name: &str| json!({"state": name});
    let suspended = || with(approved(), &state("Suspended"));
    let left = || with(approved(), &state("Left"));
    let own = || with(with(on(APPROVER.name), &approval(CHIEF.name)), &state("Suspended"));
    vec![
        old("a requester suspends", approved(), REQUESTER, spec(state("Suspended")), Stored),
        old("a reviewer suspends", approved(), REVIEWER, spec(state("Suspended")), Stored),
        old("a requester says who left", approved(), REQUESTER, spec(state("Left")), Stored),
        old(
            "a requester lets somebody back",
            suspended(),
            REQUESTER,
            spec(state("Active")),
            Refused("TG-6023"),
        ),
        old(
            "a requester lets somebody back by default",
            suspended(),
            REQUESTER,
            Replace(approved()),
            Refused("TG-6023"),
        ),
        old(
            "a requester lets somebody back by null",
            suspended(),
            REQUESTER,
            Replace(with_null(approved(), "state")),
            Refused("TG-6023"),
        ),
        old(
            "a requester lets somebody back by apply",
            suspended(),
            REQUESTER,
            Apply("unit", with(applied(), &state("Active"))),
            Refused("TG-6023"),
        ),
        old(
            "a reviewer lets somebody back",
            suspended(),
            REVIEWER,
            spec(state("Active")),
            Refused("TG-6023"),
        ),
        old("an approver lets somebody back", suspended(), APPROVER, spec(state("Active")), Stored),
        old(
            "an approver lets the own account back",
            own(),
            APPROVER,
            spec(state("Active")),
            Refused("TG-6007"),
        ),
        old(
            "an approver disowns it and lets it back",
            own(),
            APPROVER,
            spec(json!({"request": {"kubernetesUser": null}, "approval": null, "state": "Active"})),
            Refused("TG-6007"),
        ),
        old("another approver lets it back", own(), CHIEF, spec(state("Active")), Stored),
        old(
            "the controller lets somebody back",
            suspended(),
            CONTROLLER,
            spec(state("Active")),
            Refused("TG-6023"),
        ),
        old(
            "the controller with every right does",
            suspended(),
            CONTROLLER_AS_ROOT,
            spec(state("Active")),
            Refused("TG-6023"),
        ),
        old("an approver brings back who left", left(), APPROVER, spec(state("Active")), Refused("TG-6021")),
        old("an approver suspends who left", left(), APPROVER, spec(state("Suspended")), Refused("TG-6021")),
        old(
            "the administrator brings back who left",
            left(),
            ROOT,
            spec(state("Active")),
            Refused("TG-6021"),
        ),
    ]
}

/// Who confirms.
pub(crate) fn reviews() -> Vec<Case> {
    let yes = |who: Who| review(who.name);
    let reviewed = || with(approved(), &review(REVIEWER.name));
    vec![
        old("a reviewer confirms", approved(), REVIEWER, spec(yes(REVIEWER)), Stored),
        old(
            "a reviewer confirms by apply",
            approved(),
            REVIEWER,
            Apply("tidegate-review", yes(REVIEWER)),
            Stored,
        ),
        old("a requester confirms", approved(), REQUESTER, spec(yes(REQUESTER)), Refused("TG-6023")),
        old("an approver confirms", approved(), APPROVER, spec(yes(APPROVER)), Refused("TG-6023")),
        old("a reviewer forges another", approved(), REVIEWER, spec(yes(CHIEF)), Refused("TG-6024")),
        old(
            "a reviewer confirms the own account",
            on(REVIEWER.name),
            REVIEWER,
            spec(yes(REVIEWER)),
            Refused("TG-6007"),
        ),
        old("the controller confirms", approved(), CONTROLLER, spec(yes(CONTROLLER)), Refused("TG-6023")),
        old(
            "a requester prolongs a review",
            reviewed(),
            REQUESTER,
            spec(json!({"review": {"until": "2027-09-30T16:00:00Z"}})),
            Refused("TG-6023"),
        ),
        new(
            "an application brings its review",
            REQUESTER,
            Create(with(applied(), &yes(REVIEWER))),
            Refused("TG-6023"),
        ),
        new("a backup brings back a review", RESTORER, Create(reviewed()), Stored),
    ]
}
