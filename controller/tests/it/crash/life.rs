//! The life of a department, its only account and its only system, step by step.

use std::cell::Cell;

use serde_json::{Value, json};
use tidegate_controller::activation::digest_of;
use tidegate_controller::time::now;
use tidegate_store::{Intent, IntentAction, IntentId, Outcome, Store as _};

use super::picture::{Picture, paths};
use super::stage::Stage;

/// How the codes of these departments begin; a number follows.
pub(super) const CODE: &str = "crash";

/// How often what is not expected has to look the same.
const STILL: u32 = 20;

/// What the person's password is hashed to.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";

/// Lives one life, and gives what was to be seen after each step; it has to be what was expected.
pub(super) async fn live(stage: &Stage, number: u32, expected: Option<&[Picture]>) -> Vec<Picture> {
    let life = Life { stage, number, code: format!("{CODE}{number:04}"), epoch: Cell::new(None) };
    let mut seen = Vec::new();
    for (index, step) in STEPS.into_iter().enumerate() {
        stage.points.enter(step);
        life.step(step).await;
        let expected = expected.and_then(|expected| expected.get(index));
        seen.push(life.settled(step, expected).await);
    }
    seen
}

/// The steps, in their order.
const STEPS: [&str; 10] = [
    "department",
    "application",
    "approval",
    "activation",
    "rules",
    "other rules",
    "suspension",
    "return",
    "deletion",
    "end",
];

struct Life<'a> {
    stage: &'a Stage,
    number: u32,
    code: String,
    /// The first epoch of the account.
    epoch: Cell<Option<u64>>,
}

impl Life<'_> {
    fn namespaced(&self, plural: &str, name: &str) -> String {
        let namespace = format!("dept-{}", self.code);
        let collection = format!("/apis/tidegate.dev/v1alpha1/namespaces/{namespace}/{plural}");
        if name.is_empty() { collection } else { format!("{collection}/{name}") }
    }

    async fn step(&self, step: &str) {
        let stage = self.stage;
        let account = self.namespaced("vpnusers", "li");
        match step {
            "department" => self.make_department().await,
            "application" => {
                let object = json!({
                    "apiVersion": "tidegate.dev/v1alpha1", "kind": "VpnUser", "metadata": {"name": "li"},
                    "spec": {
                        "request": {"person": "Li", "groups": [format!("{}/clerks", self.code)]},
                        "requestedBy": "clerk", "state": "Active",
                    },
                });
                stage.create(&self.namespaced("vpnusers", ""), &object).await;
            }
            "approval" => {
                let approval = json!({"spec": {"approval": {"by": "admin", "reference": "crash"}}});
                stage.patch(&account, &approval).await;
            }
            "activation" => self.activate(&account).await,
            "rules" => {
                let system = json!({
                    "apiVersion": "tidegate.dev/v1alpha1", "kind": "Resource", "metadata": {"name": "records"},
                    "spec": {"names": {"en": "Records"}, "web": {"url": "http://10.20.1.10:8080/"}},
                });
                stage.create(&self.namespaced("resources", ""), &system).await;
                stage.create(&self.namespaced("accesspolicies", ""), &policy("Allow")).await;
            }
            "other rules" => {
                let rules = json!({"spec": policy("Deny")["spec"]});
                stage.patch(&self.namespaced("accesspolicies", "daily"), &rules).await;
            }
            "suspension" => stage.patch(&account, &json!({"spec": {"state": "Suspended"}})).await,
            "return" => stage.patch(&account, &json!({"spec": {"state": "Active"}})).await,
            "deletion" => {
                stage.delete(&account).await;
                stage.delete(&self.namespaced("resources", "records")).await;
                stage.delete(&self.namespaced("accesspolicies", "daily")).await;
            }
            _ => {
                stage.delete(&format!("/apis/tidegate.dev/v1alpha1/departments/{}", self.code)).await;
            }
        }
    }

    async fn make_department(&self) {
        let code = &self.code;
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": format!("dept-{code}"), "labels": {"tidegate.dev/department": code}},
        });
        self.stage.create("/api/v1/namespaces", &namespace).await;
        let group = |which: &str| json!([format!("{code}-{which}")]);
        let department = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Department", "metadata": {"name": code},
            "spec": {
                "code": code, "names": {"zh-CN": "局", "en": "Bureau"}, "timeZone": "Asia/Shanghai",
                "networks": ["10.20.1.0/24"],
                "roles": {"requesters": group("clerks"), "approvers": group("approvers")},
            },
        });
        self.stage.create("/apis/tidegate.dev/v1alpha1/departments", &department).await;
    }

    /// What a gateway does when somebody sets a first password.
    async fn activate(&self, account: &str) {
        let object = self.stage.until("the account", async || self.stage.get(account).await).await;
        let secret = format!("/api/v1/namespaces/dept-{}/secrets/tidegate-activation-li", self.code);
        let code = self
            .stage
            .until("the code", async || {
                let secret = self.stage.get(&secret).await?;
                let text = secret["data"]["code"].as_str().ok_or("no code")?;
                tidegate_tests::base64::decode(text).ok_or_else(|| "no Base64".to_owned())
            })
            .await;
        let id = IntentId(u128::from(self.number) + 1);
        let account = format!("{}/li", self.code).parse().unwrap();
        let version = self
            .stage
            .until("the gateway knows the code", async || {
                let snapshot = self.stage.store.subscribe().borrow().snapshot.clone().ok_or("nothing")?;
                let credential = snapshot.account(&account).and_then(|account| account.credential.clone());
                let credential = credential.filter(|credential| credential.activation.is_some());
                credential.map(|credential| credential.version).ok_or_else(|| "not yet".to_owned())
            })
            .await;
        let intent = Intent {
            id,
            account: account.clone(),
            uid: object["metadata"]["uid"].as_str().unwrap().parse().unwrap(),
            replaces: version,
            action: IntentAction::Activate {
                code: digest_of(&String::from_utf8(code).unwrap()),
                password: HASH.into(),
            },
            at: now(),
        };
        self.stage.store.offer(intent).await.unwrap();
        let outcome = self
            .stage
            .until("the outcome", async || {
                self.stage.store.outcome(id).await.unwrap().ok_or_else(|| "none yet".to_owned())
            })
            .await;
        assert_eq!(outcome, Outcome::Done { version: version + 1 });
    }

    /// Waits until a step has come to its end, and to the one that is expected.
    async fn settled(&self, step: &str, expected: Option<&Picture>) -> Picture {
        let paths = paths(&self.code);
        let mut last: Option<(Picture, u32)> = None;
        let what = format!("{} settles after {step}", self.code);
        self.stage
            .until(&what, async || {
                let picture = Picture::take(self.stage, &self.code, &paths, &self.epoch).await?;
                if let Some(expected) = expected {
                    return expected.compare(&picture).map(|()| picture);
                }
                picture.is_said()?;
                // Without an expectation it has to stay the same for a while.
                let count = match last.take() {
                    Some((before, count)) if before == picture => count + 1,
                    _ => 0,
                };
                last = Some((picture.clone(), count));
                if count >= STILL { Ok(picture) } else { Err("it may still change".to_owned()) }
            })
            .await
    }
}

fn policy(effect: &str) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": "daily"},
        "spec": {"target": {"resources": {"names": ["records"]}}, "mode": "Enforce",
            "rules": [{"name": "clerks", "effect": effect, "match": {"groups": ["clerks"]}}]},
    })
}
